// SPDX-License-Identifier: Apache-2.0
// depthwise_engine and its memories, for sim/benches/bench_depthwise_engine.py.
`include "bench_ports.svh"
`default_nettype none

module depthwise_engine_top
  import config_pkg::*;
(
    `BENCH_PORTS,
    output var logic stall_weights
);

  `BENCH_SIGNALS
  `BENCH_NO_RESIDUAL
  `BENCH_NO_VECTOR_READ
  `BENCH_NO_VECTOR_WRITE

  depthwise_engine u_engine (.*);
  bench_memory u_memory (.*);

endmodule

`default_nettype wire
