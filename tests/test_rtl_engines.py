# SPDX-License-Identifier: Apache-2.0
"""Engines and memories of templates/rtl: equal to the Program reference in simulation, free of lint.

Every bench is also run on modules with a fault put into their text, and must fail there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from test_rtl_leaf import RTL, broken, harness, needs, objects, simulation

__all__ = ["objects"]  # a fixture

MODULES = sorted(path.stem for path in RTL.glob("*.sv") if "config_pkg::" in path.read_text(encoding="utf-8"))
"""Modules that take sizes and types from config_pkg.sv."""

FAST = (
    "array_engine",
    "attention_engine",
    "control",
    "depthwise_engine",
    "dispatcher",
    "eltwise_engine",
    "input_loader",
    "io_port",
    "mlp_engine",
    "pads",
    "store_engine",
    "weight_loader",
)
"""Run by `make test`; the others by `make test-all`."""

FAULTS: list[tuple[str, str, str, str]] = [
    # bench, file, what stands there, what the fault puts there
    ("io_port", "axi_split", "low <= '0;", "low <= low;"),
    ("io_port", "axi_split", "(request_address[3+Low:4]) - 1'b1;", "(request_address[3+Low:4]);"),
    ("io_port", "axi_split", "block <= block + 1'b1;", "block <= block;"),
    ("io_port", "axi_read", "rlast && head_last", "rlast"),
    (
        "weight_loader",
        "axi_read",
        "client == '0 ? !count[CountBits-1] : count < Low",
        "!count[CountBits-1]",
    ),  # HEAD holds up WEIGHTS
    (
        "io_port",
        "axi_read",
        "for (int c = CLIENTS - 1; c >= 0; c--) if",
        "for (int c = 0; c < CLIENTS; c++) if",
    ),  # the loader goes before the fetch
    ("io_port", "axi_read", "(arready || !arvalid)", "1'b1"),  # a request is lost
    ("io_port", "axi_write", "last && burst_last", "last"),  # done before the last response
    ("io_port", "axi_write", "answer_valid && answer_final", "answer_valid"),
    ("io_port", "axi_write", "error_write <= bvalid && bresp[1]", "error_write <= 1'b0"),
    ("io_port", "small_fifo", "count != {{Bits{1'b0}}, 1'b1}", "1'b0"),
    ("weight_loader", "weight_port", "data_valid[1] ? row[1] : row[0]", "row[0]"),
    ("weight_loader", "weight_port", "{data, half}", "{half, data}"),
    ("weight_loader", "weight_loader", "offset + {18'b0, rows, 5'b0}", "offset"),
    ("weight_loader", "weight_loader", "last > 33'(weight_bytes[31:7])", "last >= 33'(weight_bytes[31:7])"),
    ("weight_loader", "weight_loader", "some[q] == '1", "some[q][0]"),  # done when one port is
    ("weight_loader", "weight_loader", "!flight[0][CountBits-1]", "1'b1"),  # a queue runs over
    ("input_loader", "input_loader", "(sum == 6'd16 && last_col)", "1'b0"),
    ("input_loader", "input_loader", "now.ring_slot == now.ring_last", "1'b0"),
    ("input_loader", "input_loader", "line <= line + 60'(advance)", "line <= line + 60'(beats)"),
    ("input_loader_tight", "input_loader", "(Bits + 1)'(DEPTH - Chunk)", "(Bits + 1)'(DEPTH)"),  # the FIFO runs over
    ("input_loader", "input_loader", "slice_channel <= answered[9:6]", "slice_channel <= 4'd0"),
    ("input_loader", "input_loader", "(4'(l % 3))", "(4'(l % 4))"),
    (
        "input_loader",
        "input_loader",
        "if (state == GIVE && !job_valid) job_valid",
        "if (state == GIVE) job_valid",
    ),  # a command twice
    ("input_loader", "input_loader", "limit > 34'(input_words)", "limit >= 34'(input_words)"),
    ("input_loader", "input_loader", "valid[4:1] == '0", "1'b1"),
    ("input_loader", "ram_fifo", "!read_valid || advance_out", "1'b1"),
    ("store_engine", "store_engine", "state == READ && !reserved[5]", "state == READ"),  # the FIFO runs over
    ("store_engine", "store_engine", "step == 4'd11) vector", "step == 4'd0) vector"),
    ("store_engine", "store_engine", "step == 4'd0 && pad == VECTOR) plane", "1'b0) plane"),
    ("store_engine", "store_engine", "flight == '0 && !begin_job && !finished", "1'b1"),  # done out of order
    ("store_engine", "store_engine", "limit > 43'(output_words)", "limit >= 43'(output_words)"),
    ("store_engine", "store_engine", "write_final <= !tracing ||", "write_final <= 1'b1 ||"),
    ("pads", "pad_slot", "window_1.pixel[3:0]} > 5'(b);", "window_1.pixel[3:0]} >= 5'(b);"),
    ("pads", "pad_slot", "b < RESIDUAL_WORDS - 1 && residual_step_2[b]", "1'b0 && residual_step_2[b]"),
    ("pads", "pad_slot", "from < write_1.count", "from <= write_1.count"),
    ("pads", "pad_slot", "4'(b) - write_1.pixel[3:0]", "4'(b) - write_1.pixel[3:0] + 4'd1"),
    ("pads", "pad_slot", "b < WRITE_WORDS - 1) begin", "b < WRITE_WORDS - 2) begin"),
    ("pads", "pad_slot", "rotate_fine_6 <= pixel_5[1:0]", "rotate_fine_6 <= window_later_4.pixel[1:0]"),
    ("pads", "pad_slot", "{1'b0, k} < window_1.high", "{1'b0, k} <= window_1.high"),
    ("pads", "pad_slot", "4'(b) - window_1.pixel[3:0];", "4'(b);"),  # fill of the words as banks
    ("pads_groups", "pad_slot", "window_later_4.mask[b] ?", "1'b0 ?"),
    ("pads_three", "pad_slot", "fill_5 <= window_later_4.fill", "fill_5 <= window_later_3.fill"),
    ("pads", "pad_slot", "row >= RowBits'(PAD_DEPTH)", "row > RowBits'(PAD_DEPTH)"),
    ("pads", "pad_slot", "window_uses_high_2 && outside", "outside"),
    (
        "pads_groups",
        "pad_slot",
        "write_step_2[b] ? write_high_outside : write_low_outside)",
        "write_step_2[b] ? 1'b0 : 1'b0)",
    ),
    ("pads", "pad_slot", "residual_pixel_4 + {2'b0, ahead}", "residual_pixel_4"),
    ("pads_three", "pads", "window_of_slots[i][k][index_7]", "window_of_slots[i][k][index_7&2'd1]"),
    ("pads", "pads", "request.valid && 32'(window_slot[i]) == s", "32'(window_slot[i]) == s"),
    ("pads_groups", "pad_slot", "AddressBits'(p / GROUPS * PAD_DEPTH)", "AddressBits'(p / GROUPS * (PAD_DEPTH - 1))"),
    ("weight_ring", "weight_ring", "(&streak && |others)", "1'b0"),
    ("weight_ring", "weight_ring", "behind <= ~above | chosen", "behind <= '0"),
    ("weight_ring", "weight_ring", "answered <= reset ? '0 : read;", "answered <= reset ? '0 : latched;"),
    ("weight_ring", "weight_ring", ".write_enable(valid && !outside(row))", ".write_enable(valid)"),
    ("weight_ring_head", "weight_ring", "write_row[j] - 16'(FIRST_ROW)", "write_row[j]"),
    ("vector_memory", "vector_memory", "AddressBits'(s * VECTOR_WORDS)", "AddressBits'(s * 32)"),
    ("vector_memory", "vector_memory", ".write_enable(valid && exists)", ".write_enable(valid)"),
    ("eltwise_engine", "tile_walker", "wrap ? '0 : (prepare ? pixel", "1'b0 ? '0 : (prepare ? pixel"),
    ("eltwise_engine", "tile_walker", "base <= base + plane;", "base <= base + 16'd1;"),
    ("eltwise_engine", "eltwise_engine", "row_end ? columns_left[3:0]", "1'b0 ? columns_left[3:0]"),
    ("eltwise_engine", "eltwise_engine", " && valids == '0)", ")"),  # the table changes under the codes of before
    ("eltwise_engine", "eltwise_engine", "ins.add_shift[5:0] : '0", "ins.add_shift[5:0] : 6'd1"),
    ("eltwise_engine", "eltwise_engine", "ins.t_row + {15'b0, table_row}", "ins.t_row"),
    ("eltwise_engine", "eltwise_engine", ".CYCLES(READ_LATENCY + AddLatency)", ".CYCLES(READ_LATENCY)"),
    ("dispatcher", "dispatcher_queue", "(count[14:0] >= needed[14:0]) == (count[15] == needed[15])", "count >= needed"),
    ("dispatcher", "dispatcher_queue", "int Settle = Traced ? WRITE_SETTLE : 2", "int Settle = 2"),
    ("dispatcher", "dispatcher_queue", "drop <= bad || ", "drop <= "),
    ("dispatcher", "dispatcher_queue", "(possible && !exists)", "1'b0"),  # frames that do not exist
    ("dispatcher", "dispatcher_queue", "(possible && !exists)", "!exists"),  # no slot is no error
    ("dispatcher", "dispatcher_queue", "record.slots[7:SLOTS] == '0 && ", ""),
    ("dispatcher", "dispatcher_queue", "slots != '0 && (slots & (slots - 1'b1)) == '0", "slots != '0"),
    ("dispatcher", "dispatcher_queue", "PerSlot ? index(held.slots[SLOTS-1:0]) : '0", "'0"),
    ("dispatcher", "dispatcher_queue", "(front_skip || dones != '0)", "dones != '0"),
    ("dispatcher", "dispatcher_queue", "&& flight_write[4] != flight_read[4]", "&& 1'b0"),  # more in flight than fit
    ("dispatcher", "dispatcher_queue", "wanted && !taken", "wanted"),  # a record is lost
    ("dispatcher", "dispatcher_queue", "freed <= advance", "freed <= taken"),  # before the trace has read it again
    ("dispatcher", "dispatcher_queue", "if (!command_valid) held", "held"),
    ("dispatcher", "dispatcher_queue", "if (!command_valid) command_offset", "command_offset"),
    ("dispatcher", "dispatcher_queue", "(advance && last) || ", ""),  # the offsets of the first group
    ("dispatcher_three", "dispatcher_queue", "load_beat < Slots", "load_beat <= Slots"),
    ("dispatcher", "dispatcher_queue", "if (phase == Run && settled)", "if (phase == Run)"),  # copies before the end
    ("dispatcher", "dispatcher_records", "some[q] <= came[q] != gone[q]", "some[q] <= 1'b1"),
    ("dispatcher", "dispatcher_records", "tracing ? record - 1'b1 : record", "record"),
    ("dispatcher", "dispatcher_fetch", "left <= SlotCount", "left < SlotCount"),
    ("dispatcher", "dispatcher_fetch", "data_error || (came_error && beat != 3'd0)", "data_error"),
    ("dispatcher", "dispatcher_fetch", "word[1] != VERSION", "1'b0"),
    ("dispatcher", "dispatcher_fetch", "too_large != '0 || ", ""),
    ("dispatcher", "dispatcher_trace", "frames - left + 32'(trace_slot)", "frames - left"),
    ("dispatcher", "dispatcher", "executed[QUEUE_STORE]", "finish[QUEUE_STORE]"),
    ("dispatcher", "dispatcher", "axi_idle && quiet", "quiet"),
    ("dispatcher", "dispatcher", "if (reset || accept) begin\n      error", "if (reset) begin\n      error"),
    ("control", "control", "write_mask[0] && write_data[0]) ap_start", "write_data[0]) ap_start"),
    ("control", "control", "begin_run = ap_start && idle && !running", "begin_run = ap_start"),
    ("control", "control", "isr[b] ^ write_data[b]", "write_data[b]"),
    ("control", "control", "else if (read_control) {ap_done", "if (read_control) {ap_done"),  # done is lost
    ("control", "control", "write = address_held && data_held", "write = address_held"),
    ("control", "control", "else if (here && write_strobe[b])", "else if (here)"),
    ("control", "control", "ap_start <= auto_restart", "ap_start <= 1'b0"),
    ("control", "control", "if (begin_run) begin\n      run_pointer", "if (1'b1) begin\n      run_pointer"),
    ("array_engine", "array_prepare", "|| rest < p.og_per_group", "|| 1'b1"),  # group 0 of a grouped convolution
    ("array_engine", "array_weights", "w1 - {7'b0, w0[7]}", "w1"),  # the borrow of the low weight
    ("array_engine", "array_weights", "head_parameters || !ready || step_start", "1'b1"),  # shadow operands overwritten
    ("array_engine", "array_weights", "last_of_rows && !parameters && !is_packed && !odd", "1'b0"),  # one visit's rows
    ("array_engine", "array_issue", "|| left_1[4:0] >= span_1", "|| 1'b1"),  # right of the input
    ("array_engine", "array_issue", "wrap_1 ? pixel_wrapped_1 : pixel_1", "pixel_1"),
    ("array_engine", "array_issue", "wrap ? slot_wrapped : slot_down", "slot_down"),
    ("array_engine", "array_issue", "c_per_group != '0 && n_rest >= c_per_group", "1'b0"),
    ("array_engine", "array_issue", "!run_start || !busy[1]", "1'b1"),  # accumulators that the epilogue still reads
    ("array_engine", "array_issue", "even_1 <= is_packed || !s_odd", "even_1 <= 1'b1"),
    ("array_engine", "mac_accumulator", "first_2 ? '0", "1'b0 ? '0"),
    ("array_engine", "mac_array", "stride == 3'd3", "stride == 3'd7"),
    ("array_engine", "array_epilogue", "y_rows == 16'd1 ? '0 : y_row", "1'b0 ? '0 : y_row"),
    ("array_engine", "array_epilogue", "x_left_0[14:0] < {11'b0, chunk_0} ? x_left_0[3:0] : chunk_0", "chunk_0"),
    ("array_engine", "array_epilogue", "if (waiting && drain == '0)", "if (waiting)"),  # the table changes too early
    ("array_engine_8", "array_epilogue", "y[offset_12|LogEW'(e)]", "y[e]"),
    ("array_engine_16", "array_epilogue", "int Early = 24", "int Early = 120"),
    ("array_engine_16", "mac_array", "b >= 4 && mode_q == 3'd4", "b >= 8 && mode_q == 3'd4"),
    ("attention_engine", "attention_prepare", "- ValueBits'($signed(p))", "- ValueBits'(1'b0)"),
    ("attention_engine_3", "attention_prepare", "{(DIGITS - 1) {8'h80}}", "{8'h80, {(DIGITS - 2) {8'h00}}}"),
    ("attention_engine_3", "attention_quotient", "DIGITS == 3 && LaneTime == 0 ? 1 : 0", "0"),  # part of the next word
    ("attention_engine_3", "attention_quotient", "go[1] ? divide_multiplier[16:0]", "1'b1 ? divide_multiplier[16:0]"),
    ("attention_engine_exact", "attention_quotient", "total[e][N-9:0], 8'b0", "total[e][N-8:0], 7'b0"),
    ("attention_engine_3_32", "attention_engine", "4'(15 - 2 * Digits)", "4'(12 - 2 * Digits)"),  # sums that leave
    ("mlp_engine", "mlp_dot", "first_q[Latency-1] ? 27'd0 : odd", "1'b0 ? 27'd0 : odd"),
    ("mlp_engine", "mlp_dot", "if (enter) begin\n        even", "if (1'b1) begin\n        even"),  # idle cycles turn it
    ("mlp_engine", "mlp_dot", "{odd_old, borrow_qq}", "{odd_old, 1'b0}"),  # what a low sum borrowed
    ("mlp_engine", "mlp_dot", "= x_q[", "= x["),  # x meets the weights of the step before
    ("mlp_engine_4", "mlp_engine", "row_last = step_number[PartBits-1:0] == '1", "row_last = 1'b1"),
    ("mlp_engine_2", "mlp_dot", "read_address[4-:StepBits+2]", "{read_address[4:3], 3'd0}"),
    ("mlp_engine", "mlp_engine", "(!next_valid || next_moves)", "1'b1"),  # parameters of a group overwritten
    ("mlp_engine", "mlp_finish", "(sticky_6 || fine_6[1])", "1'b1"),  # halves always up
    ("mlp_engine", "mlp_finish", "norm && fixed_shift[5:4] == 2'd3", "1'b0"),  # shifts above 47
    ("mlp_engine", "mlp_rows", "held != Full", "1'b1"),
    ("mlp_engine", "mlp_rows", "blob <= ring_row + 16'd1", "blob <= ring_row"),
    ("mlp_engine", "mlp_engine", "lanes_of_last > Lane", "1'b1"),  # lanes beyond N count
    ("mlp_engine", "mlp_engine", "!fifo_held[FifoBits]", "1'b1"),
    ("mlp_engine", "mlp_engine", "&& !command_retain", ""),  # the table is loaded again: too slow
    ("mlp_engine", "mlp_engine", "x_vector ? vector_read_data : window_words[0]", "window_words[0]"),
    ("mlp_engine", "mlp_engine", "product == Offset && !sum_negative", "product == Offset"),
    ("mlp_engine", "mlp_engine", "group_last ? ask_left[4:0] : 5'(Window)", "5'(Window)"),
    ("mlp_engine", "mlp_engine", "if (norm) zero_point", "if (1'b0) zero_point"),
]
FAST_FAULTS = {"from <= write_1.count"}


@simulation
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in harness.ENGINES]
)
def test_equals_reference(name: str, tmp_path: Path, objects: Path) -> None:
    tests, failed = harness.run(name, tmp_path, objects=objects)
    assert tests >= 1 and failed == 0, (tmp_path / "test.log").read_text(encoding="utf-8")[-3000:]


@simulation
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f, id=f"{f[0]}-{index}", marks=() if f[3] in FAST_FAULTS else pytest.mark.slow)
        for index, f in enumerate(FAULTS)
    ],
)
def test_fails_on_a_fault(fault: tuple[str, str, str, str], tmp_path: Path, objects: Path) -> None:
    name, file, old, new = fault
    rtl = broken(tmp_path / "rtl", file, old, new)
    tests, failed = harness.run(name, tmp_path / "build", rtl=rtl, objects=objects)
    assert tests >= 1 and failed >= 1, f"the bench {name} does not see {old!r} -> {new!r} in {file}.sv"


def lint(module: str, package: Path) -> str:
    """What Verilator has to say about ``module``; empty if nothing."""
    command = ["verilator", "--lint-only", "--quiet", "-Wall", "-y", str(RTL), str(package), str(RTL / f"{module}.sv")]
    with harness.environment(harness.verilator_environment()):
        run = subprocess.run([*command, "--top-module", module], capture_output=True, text=True, check=False)
    lines = (run.stdout + run.stderr).splitlines()
    return "\n".join(line for line in lines if not line.startswith("- ")) + ("" if run.returncode == 0 else " failed")


@needs("verilator")
@pytest.mark.parametrize("module", MODULES)
def test_verilator_lint(module: str, tmp_path: Path) -> None:
    assert lint(module, harness.render_package({}, tmp_path)) == ""
