// SPDX-License-Identifier: Apache-2.0
// array_engine and its memories, for sim/benches/bench_array_engine.py.
`include "bench_ports.svh"
`default_nettype none

module array_engine_top
  import config_pkg::*;
(
    `BENCH_PORTS,
    output var logic stall_weights,
    output var logic stall_epilogue
);

  `BENCH_SIGNALS
  `BENCH_NO_VECTOR_READ
  `BENCH_NO_VECTOR_WRITE

  array_engine u_engine (.*);
  bench_memory u_memory (.*);

endmodule

`default_nettype wire
