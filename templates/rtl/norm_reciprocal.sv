// SPDX-License-Identifier: Apache-2.0
// 1 / sqrt(variance) of the LayerNormalization: floor(2^49 / floor(sqrt(variance * 4^half))), half such that the scaled
// variance lies in [2^50, 2^52). One result at a time.
//
//   variance --> << 2 or >> 2 until in range --> root, one bit a cycle --> 2^49 / root, one bit a cycle --> reciprocal
//                  counts half                    (integer_sqrt's rest and root share the registers of the division)
//
// Latency, cycles: acceptance 1 + |half| + range found 1 + root 26 + quotient 25 = 53 + |half|, at most 79.
// Handshake: in_ready in idle only; the result stays until out_ready. No value is lost. `reset` returns to idle.
//
// VARIANCE_BITS  unsigned, 52 to 64; a variance of 0 is the caller's mistake (it is N Q - S^2 + E with E >= 1)
`default_nettype none

module norm_reciprocal #(
    parameter int VARIANCE_BITS = 62
) (
    input  wire logic                     clk,
    input  wire logic                     reset,
    input  wire logic                     in_valid,
    output var  logic                     in_ready,
    input  wire logic [VARIANCE_BITS-1:0] variance,
    output var  logic                     out_valid,
    input  wire logic                     out_ready,
    output var  logic [24:0]              reciprocal,
    output var  logic [5:0]               shift        // 49 - half: reciprocal / 2^shift ~ 1 / sqrt(variance)
);

  if (VARIANCE_BITS < 53 || VARIANCE_BITS > 64) begin : gen_check
    $error("norm_reciprocal: a variance has 53 to 64 bits");
  end

  typedef enum logic [2:0] {
    Idle,
    Scale,
    Root,
    Divide,
    Done
  } state_t;

  state_t state;
  logic [4:0] count;
  logic [VARIANCE_BITS-1:0] value;  // the scaled variance; the root takes its digits from bits 51:50
  logic [27:0] rest;
  logic [25:0] root;

  assign in_ready  = state == Idle;
  assign out_valid = state == Done;

  // Root: rest' = 4 rest + digits - (4 root + 1). Division: rest' = 2 rest - root. One subtractor for both.
  logic [28:0] minuend;
  logic [28:0] subtrahend;
  logic [28:0] difference;
  logic fits;
  assign minuend = state == Root ? {rest[26:0], value[51:50]} : {rest, 1'b0};
  assign subtrahend = state == Root ? {1'b0, root, 2'b01} : {3'b0, root};
  assign difference = minuend - subtrahend;
  assign fits = !difference[28];

  always_ff @(posedge clk) begin
    if (reset) begin
      state <= Idle;
    end else begin
      case (state)
        Idle: begin
          value <= variance;
          shift <= 6'd49;
          rest  <= '0;
          root  <= '0;
          count <= 5'd0;
          if (in_valid) state <= Scale;
        end
        Scale: begin
          if (value[VARIANCE_BITS-1:52] != '0) begin
            value <= value >> 2;
            shift <= shift + 6'd1;
          end else if (value[51:50] == 2'b00) begin
            value <= value << 2;
            shift <= shift - 6'd1;
          end else begin
            state <= Root;
          end
        end
        Root: begin
          value <= value << 2;
          root  <= {root[24:0], fits};
          rest  <= fits ? difference[27:0] : minuend[27:0];
          count <= count + 5'd1;
          if (count == 5'd25) begin
            // The rest of the division starts as 2^49 >> 25, which is below every root.
            rest  <= 28'd1 << 24;
            count <= 5'd0;
            state <= Divide;
          end
        end
        Divide: begin
          reciprocal <= {reciprocal[23:0], fits};
          rest <= fits ? difference[27:0] : minuend[27:0];
          count <= count + 5'd1;
          if (count == 5'd24) state <= Done;
        end
        default: if (out_ready) state <= Idle;
      endcase
    end
  end

  logic unused;
  assign unused = &{1'b0, minuend[28]};

endmodule

`default_nettype wire
