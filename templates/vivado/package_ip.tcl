# SPDX-License-Identifier: Apache-2.0
# Packages ../rtl with hwgen_ip.v as an IP in $output/ip. build.tcl sources this file.
create_project -force package $output/package -part $part
add_files -norecurse [lsort [glob -directory $here/../rtl *.sv]]
add_files -norecurse [list $here/hwgen_ip.v]
set_property top hwgen_ip [current_fileset]
update_compile_order -fileset sources_1

lassign [split $vlnv :] vendor library name version
ipx::package_project -root_dir $output/ip -vendor $vendor -library $library -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name $name $core
set_property version $version $core
set_property display_name {Hybrid vision transformer accelerator of hwgen} $core
set_property description {Executes one Program; see docs/machine.md of hwgen} $core

# Address spaces and register map with the names that Vitis HLS uses: one block design serves both forms. What the
# packager made up from the ports goes.
foreach map [ipx::get_memory_maps -quiet -of_objects $core] {
  ipx::remove_memory_map [get_property name $map] $core
}
foreach space [ipx::get_address_spaces -quiet -of_objects $core] {
  ipx::remove_address_space [get_property name $space] $core
}
foreach bus $masters {
  set space [ipx::add_address_space Data_$bus $core]
  set_property range 16E $space
  set_property width 64 $space
  set_property master_address_space_ref Data_$bus [ipx::get_bus_interfaces $bus -of_objects $core]
}
set map [ipx::add_memory_map s_axi_control $core]
set_property slave_memory_map_ref s_axi_control [ipx::get_bus_interfaces s_axi_control -of_objects $core]
set block [ipx::add_address_block Reg $map]
set_property usage register $block
set_property range 4096 $block
set_property width 32 $block
foreach register $registers {
  lassign $register register_name offset access text
  set entry [ipx::add_register $register_name $block]
  set_property address_offset $offset $entry
  set_property size 32 $entry
  set_property access $access $entry
  set_property description $text $entry
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
