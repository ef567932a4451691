// SPDX-License-Identifier: Apache-2.0
// eltwise_engine and its memories, for sim/benches/bench_eltwise_engine.py.
`include "bench_ports.svh"
`default_nettype none

module eltwise_engine_top
  import config_pkg::*;
(
    `BENCH_PORTS
);

  `BENCH_SIGNALS
  `BENCH_NO_VECTOR_READ
  `BENCH_NO_VECTOR_WRITE

  eltwise_engine u_engine (.*);
  bench_memory u_memory (.*);

endmodule

`default_nettype wire
