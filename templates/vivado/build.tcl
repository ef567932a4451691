# SPDX-License-Identifier: Apache-2.0
# Builds the bitstream:  vivado -mode batch -source build.tcl -tclargs rtl   (or hls)
# Everything goes to the folder of that name: hwgen.bit, hwgen.hwh, *.rpt, and Vivado's project.
# The build folder may have any name: where a command takes a list or a pattern, paths stand in [list ...] or -directory.
set here [file dirname [file normalize [info script]]]
source $here/settings.tcl

set ip [lindex $argv 0]
if {$ip ni {rtl hls}} {
  error "say which accelerator to build: -tclargs rtl or -tclargs hls"
}
set output $here/$ip
file delete -force $output
file mkdir $output

if {$board_part ne ""} {
  if {[llength [split $board_part :]] == 4} {
    set board [get_board_parts -quiet $board_part]
  } else {
    set board [get_board_parts -quiet -latest_file_version $board_part:*]
  }
  if {$board eq ""} {
    set others [get_board_parts -quiet [join [lrange [split $board_part :] 0 2] :]:*]
    error "Vivado has no board files $board_part: install them (Tools > XHub Stores, or the vendor's page), or name\
      others in board.toml; of this board it has: [expr {$others eq "" ? "none" : $others}]"
  }
}

# The accelerator as an IP
if {$ip eq "rtl"} {
  source $here/package_ip.tcl
} else {
  set archives [glob -nocomplain -directory $here/../hls {{,project/,project/*/impl/}ip.zip}]
  if {$archives eq ""} {
    error "there is no IP of the HLS form: run Vitis HLS in ../hls first (run_hls.tcl or hls_config.cfg)"
  }
}

create_project -force hwgen $output/project -part $part
if {$board_part ne ""} {
  set_property board_part $board [current_project]
  if {$board_connections ne ""} {
    set_property board_connections $board_connections [current_project]
  }
}
file mkdir $output/ip
set_property ip_repo_paths [list $output/ip] [current_project]
if {$ip eq "hls"} {
  update_ip_catalog -add_ip [lindex $archives 0] -repo_path $output/ip
}
update_ip_catalog -rebuild

# An address segment of the block design. Without it assign_bd_address would choose for itself.
proc segment {name} {
  set found [get_bd_addr_segs -quiet $name]
  if {$found eq ""} {
    error "there is no address segment $name: the processing system is not set up for the memory that board.toml\
      states (ddr.bytes; vivado.board_part names the board files with the preset)"
  }
  return $found
}
# Takes those segments that exist out of an address space: validate_bd_design complains of each that is undecided.
proc exclude {space names} {
  foreach segment [get_bd_addr_segs -quiet $names] {
    exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces $space] $segment
  }
}
source $here/design_$ip.tcl
set design [get_files hwgen.bd]
generate_target all $design
make_wrapper -files $design -top -import
set_property top hwgen_wrapper [current_fileset]
update_compile_order -fileset sources_1

launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {
  error "implementation ended with: [get_property STATUS [get_runs impl_1]]"
}

open_run impl_1
report_utilization -file $output/utilization.rpt
report_utilization -hierarchical -file $output/utilization_by_module.rpt
report_timing_summary -file $output/timing.rpt
report_power -file $output/power.rpt

# The handoff file lies in hwgen.gen, before Vivado 2020.2 in hwgen.srcs
set project [get_property DIRECTORY [current_project]]
set handoff [glob -directory $project {hwgen.{gen,srcs}/sources_1/bd/hwgen/hw_handoff/hwgen.hwh}]
file copy -force [lindex $handoff 0] $output/hwgen.hwh
file copy -force $project/hwgen.runs/impl_1/hwgen_wrapper.bit $output/hwgen.bit
