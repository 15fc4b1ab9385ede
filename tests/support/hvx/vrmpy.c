/* Dot products of 32 lanes along K, as the HVX does them: four u8 x s8 products at a time are added
 * to an int32. Input, tile after tile: 32 x int32 to start from, int32 steps (K / 4), then for each
 * step 32 x 4 x u8 and 32 x 4 x s8. Output: 32 x int32 a tile. */
#include "kernel.h"

static HVX_Vector accumulator, activations, weights;
static int steps;

void _start(void) {
  for (;;) {
    take(&accumulator, VECTOR);
    take(&steps, sizeof steps);
    for (int step = 0; step < steps; ++step) {
      take(&activations, VECTOR);
      take(&weights, VECTOR);
      accumulator = Q6_Vw_vrmpyacc_VwVubVb(accumulator, activations, weights);
    }
    give(&accumulator, VECTOR);
  }
}
