# SPDX-License-Identifier: Apache-2.0
# Vivado's commands as far as the scripts under templates/vivado use them: they check their arguments, do nothing, and
# write what they were told to a record. A command or option that is not here is an error, as in Vivado.
#
#   tclsh vivado_stub.tcl RECORD SCRIPT [ARGUMENTS...]
#
# Record, one Tcl list a line: {cell NAME VLNV} {property OBJECT NAME VALUE} {link MASTER SLAVE} {wire PIN PIN...}
# {range SPACE SEGMENT BASE SIZE} {exclude SPACE SEGMENT} {automation RULE CONFIG CELL}
# {command NAME ARGUMENTS...} {ip KIND NAME [PARENT]}
# With HWGEN_STUB_REPORTS, a folder of *.rpt, the reports are copies of these; HWGEN_STUB_FAIL=1: implementation fails.

namespace eval stub {
  variable record
  variable cells {}
  variable properties
  variable project {}
  variable boards {
    xilinx.com:zcu102:part0:3.3 xilinx.com:zcu102:part0:3.4 xilinx.com:kv260_som:part0:1.3 xilinx.com:kv260_som:part0:1.4
    xilinx.com:kv260_som:part0:1.5 tul.com.tw:pynq-z2:part0:1.0
  }
  variable preset 0

  proc say {args} {
    variable record
    puts $record $args
  }

  # Options of a command: -name value, or -name alone for those in $flags. Returns the other arguments.
  proc options {command given valued flags into} {
    upvar $into found
    set rest {}
    set found [dict create]
    for {set i 0} {$i < [llength $given]} {incr i} {
      set word [lindex $given $i]
      if {[string match -* $word] && [string range $word 1 end] in $flags} {
        dict set found [string range $word 1 end] 1
      } elseif {[string match -* $word] && [string range $word 1 end] in $valued} {
        if {[incr i] >= [llength $given]} {
          error "$command: $word needs a value"
        }
        dict set found [string range $word 1 end] [lindex $given $i]
      } elseif {[string match -* $word] && ![string is double -strict $word]} {
        error "$command: unknown option $word"
      } else {
        lappend rest $word
      }
    }
    return $rest
  }

  proc need {command count rest} {
    if {[llength $rest] != $count} {
      error "$command: $count arguments expected, found [llength $rest]: $rest"
    }
  }

  proc on_cell {command path} {
    variable cells
    if {[lindex [split $path /] 0] ni $cells} {
      error "$command: no cell of $path exists"
    }
    return $path
  }

  # A command that is only written down
  proc written {name valued flags {result {}}} {
    proc ::$name {args} [string map [list NAME $name VALUED $valued FLAGS $flags RESULT $result] {
      set rest [stub::options NAME $args {VALUED} {FLAGS} given]
      stub::say command NAME {*}$rest {*}$given
      return {RESULT}
    }]
  }
}

# Projects, files, runs
proc create_project {args} {
  need_new stub::project
  set rest [stub::options create_project $args {part} {force} given]
  stub::need create_project 2 $rest
  lassign $rest name directory
  if {![dict exists $given part] || [dict get $given part] eq ""} {
    error "create_project: no part"
  }
  set stub::project [list $name $directory]
  file mkdir $directory
  stub::say command create_project $name [dict get $given part]
}
proc need_new {variable} {
  upvar #0 $variable value
  if {$value ne ""} {
    error "a project is open already"
  }
}
proc close_project {} {
  set stub::project {}
}
proc current_project {} {
  if {$stub::project eq ""} {
    error "no project is open"
  }
  return project
}
proc current_fileset {} {
  return sources
}
proc add_files {args} {
  set rest [stub::options add_files $args {} {norecurse} given]
  foreach file [lindex $rest 0] {
    if {![file exists $file]} {
      error "add_files: $file does not exist"
    }
    stub::say command add_files [file tail $file]
  }
}
proc get_files {name} {
  if {$name ne "hwgen.bd" || $stub::cells eq ""} {
    error "get_files: no $name"
  }
  return $name
}
proc get_board_parts {args} {
  set rest [stub::options get_board_parts $args {} {quiet latest_file_version} given]
  stub::need get_board_parts 1 $rest
  set found [lsearch -all -inline $stub::boards $rest]
  return [expr {[dict exists $given latest_file_version] ? [lindex $found end] : $found}]
}
proc make_wrapper {args} {
  stub::options make_wrapper $args {files} {top import} given
  set generated [lindex $stub::project 1]/hwgen.gen/sources_1/bd/hwgen
  file mkdir $generated/hdl $generated/hw_handoff
  close [open $generated/hdl/hwgen_wrapper.v w]
  close [open $generated/hw_handoff/hwgen.hwh w]
  if {[dict exists $given import]} {
    stub::say command add_files hwgen_wrapper.v
  }
  return $generated/hdl/hwgen_wrapper.v
}
proc launch_runs {args} {
  set rest [stub::options launch_runs $args {to_step jobs} {} given]
  stub::need launch_runs 1 $rest
  if {$rest ne "impl_1" || [dict get $given to_step] ne "write_bitstream"} {
    error "launch_runs: $args"
  }
}
proc wait_on_run {run} {
  set directory [lindex $stub::project 1]/hwgen.runs/$run
  file mkdir $directory
  close [open $directory/hwgen_wrapper.bit w]
}
proc get_runs {run} {
  return run
}
proc open_run {run} {}
foreach report {utilization timing_summary power} {
  proc report_$report {args} [string map [list WHAT $report] {
    stub::options report_WHAT $args {file} {hierarchical} given
    set target [dict get $given file]
    if {[info exists ::env(HWGEN_STUB_REPORTS)]} {
      file copy -force $::env(HWGEN_STUB_REPORTS)/[file tail $target] $target
    } else {
      close [open $target w]
    }
  }]
}
stub::written update_compile_order {fileset} {}
stub::written generate_target {} {}
stub::written update_ip_catalog {add_ip repo_path} {rebuild}
stub::written validate_bd_design {} {}
stub::written save_bd_design {} {}

# Properties of anything
proc get_property {name object} {
  if {$object eq "project" && $name eq "DIRECTORY"} {
    return [lindex $stub::project 1]
  }
  if {$object eq "run" && $name eq "PROGRESS"} {
    return [expr {[info exists ::env(HWGEN_STUB_FAIL)] ? "80%" : "100%"}]
  }
  if {$object eq "run" && $name eq "STATUS"} {
    return "route_design ERROR"
  }
  if {$name eq "name" && [string match ip:* $object]} {
    return [lindex [split $object :] end]
  }
  error "get_property: $object has no $name"
}
proc set_property {args} {
  set rest [stub::options set_property $args {dict} {} given]
  if {[dict exists $given dict]} {
    stub::need set_property 1 $rest
    if {[llength [dict get $given dict]] % 2} {
      error "set_property -dict: names and values are not pairs"
    }
    foreach {name value} [dict get $given dict] {
      stub::say property $rest $name $value
    }
  } else {
    stub::need set_property 3 $rest
    lassign $rest name value object
    if {$object eq ""} {
      error "set_property: no object for $name"
    }
    if {$name eq "ip_repo_paths"} {
      foreach folder $value {
        if {![file isdirectory $folder]} {
          error "set_property: there is no folder $folder"
        }
      }
      set value [lmap folder $value {file tail $folder}]
    }
    stub::say property $object $name $value
  }
}

# Block design
proc create_bd_design {name} {
  current_project
  stub::say command create_bd_design $name
}
proc create_bd_cell {args} {
  set name [stub::options create_bd_cell $args {type vlnv} {} given]
  stub::need create_bd_cell 1 $name
  if {[dict get $given type] ne "ip" || $name in $stub::cells} {
    error "create_bd_cell: $args"
  }
  lappend stub::cells $name
  stub::say cell $name [dict get $given vlnv]
}
proc get_bd_cells {name} {
  return [stub::on_cell get_bd_cells $name]
}
foreach kind {intf_pins pins addr_spaces} {
  proc get_bd_$kind {path} [string map [list KIND $kind] {
    if {[llength [split $path /]] < 2} {
      error "get_bd_KIND: $path names no cell"
    }
    return [stub::on_cell get_bd_KIND $path]
  }]
}
# Segments that a Zynq UltraScale+ has with the preset of its board or with PCIe only; what is not there is left out.
proc get_bd_addr_segs {args} {
  set names [stub::options get_bd_addr_segs $args {} {quiet} given]
  stub::need get_bd_addr_segs 1 $names
  set found {}
  foreach name [lindex $names 0] {
    if {([string match *_DDR_HIGH $name] && !$stub::preset) || [string match *_PCIE_* $name]} {
      continue
    }
    lappend found [stub::on_cell get_bd_addr_segs $name]
  }
  return $found
}
proc exclude_bd_addr_seg {args} {
  set segment [stub::options exclude_bd_addr_seg $args {target_address_space} {} given]
  stub::need exclude_bd_addr_seg 1 $segment
  stub::say exclude [dict get $given target_address_space] $segment
}
proc apply_bd_automation {args} {
  set cell [stub::options apply_bd_automation $args {rule config} {} given]
  stub::need apply_bd_automation 1 $cell
  if {[llength [dict get $given config]] % 2} {
    error "apply_bd_automation: the configuration is not pairs"
  }
  set stub::preset [dict get [dict get $given config] apply_board_preset]
  stub::say automation [dict get $given rule] [dict get $given config] $cell
}
proc connect_bd_intf_net {args} {
  stub::need connect_bd_intf_net 2 $args
  stub::say link {*}$args
}
proc connect_bd_net {args} {
  if {[llength $args] < 2} {
    error "connect_bd_net: a wire needs two ends"
  }
  stub::say wire {*}$args
}
proc assign_bd_address {args} {
  set segment [stub::options assign_bd_address $args {offset range target_address_space} {} given]
  stub::need assign_bd_address 1 $segment
  stub::say range [dict get $given target_address_space] $segment [dict get $given offset] [dict get $given range]
}

# IP packager: objects are ip:KIND:NAME
namespace eval ipx {
  variable core {}
  proc package_project {args} {
    variable core
    stub::options ipx::package_project $args {root_dir vendor library taxonomy} {import_files force} given
    file mkdir [dict get $given root_dir]
    set core ip:core:hwgen_ip
    stub::say ip core [dict get $given vendor] [dict get $given library]
  }
  proc current_core {} {
    variable core
    if {$core eq ""} {
      error "nothing is packaged"
    }
    return $core
  }
  proc get_memory_maps {args} {
    return ip:map:packager_map
  }
  proc get_address_spaces {args} {
    return ip:space:packager_space
  }
  proc get_bus_interfaces {args} {
    set name [stub::options ipx::get_bus_interfaces $args {of_objects} {} given]
    stub::need ipx::get_bus_interfaces 1 $name
    stub::say ip bus $name
    return ip:bus:$name
  }
  foreach what {memory_map address_space} {
    proc remove_$what {name core} {
      if {![string match packager_* $name]} {
        error "there is no $name to remove"
      }
    }
  }
  foreach {what kind} {memory_map map address_space space address_block block register register} {
    proc add_$what {name parent} [string map [list KIND $kind] {
      stub::say ip KIND $name $parent
      return ip:KIND:$name
    }]
  }
  foreach what {create_xgui_files update_checksums check_integrity save_core} {
    proc $what {core} {}
  }
}

set stub::record [open [lindex $argv 0] w]
set stub_script [lindex $argv 1]
set argv [lrange $argv 2 end]
set argc [llength $argv]
set stub_failed [catch {source $stub_script} stub_message stub_options]
close $stub::record
if {$stub_failed} {
  puts stderr "ERROR: $stub_message"
  puts stderr [dict get $stub_options -errorinfo]
  exit 1
}
