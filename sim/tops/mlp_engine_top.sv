// SPDX-License-Identifier: Apache-2.0
// mlp_engine and its memories, for sim/benches/bench_mlp_engine.py.
`include "bench_ports.svh"
`default_nettype none

module mlp_engine_top
  import config_pkg::*;
(
    `BENCH_PORTS
);

  `BENCH_SIGNALS
  `BENCH_NO_RESIDUAL

  mlp_engine u_engine (.*);
  bench_memory #(.HEAD(1'b1)) u_memory (.*);

endmodule

`default_nettype wire
