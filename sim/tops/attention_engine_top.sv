// SPDX-License-Identifier: Apache-2.0
// attention_engine and its memories, for sim/benches/bench_attention_engine.py.
`include "bench_ports.svh"
`default_nettype none

module attention_engine_top
  import config_pkg::*;
(
    `BENCH_PORTS
);

  `BENCH_SIGNALS
  `BENCH_NO_RESIDUAL
  `BENCH_NO_VECTOR_READ
  `BENCH_NO_VECTOR_WRITE

  attention_engine u_engine (.*);
  bench_memory u_memory (.*);

  logic unused;
  assign unused = &{1'b0, command_retain, residual_words, vector_read_data};

endmodule

`default_nettype wire
