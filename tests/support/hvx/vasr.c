/* Narrowing by a power of two, as the HVX does it: int32 to int16 and int16 to uint8, each with
 * vasr:rnd:sat. Input, tile after tile: int32 shift of the words (0 to 15), int32 shift of the
 * halves (0 to 7), 4 x 32 x int32. Output a tile: 2 x 64 x int16, then 128 x uint8. Of two vectors
 * u, v the instruction puts v into the even places and u into the odd ones. */
#include "kernel.h"

static HVX_Vector words[4], halves[2], bytes;
static int shifts[2];

void _start(void) {
  for (;;) {
    take(shifts, sizeof shifts);
    take(words, sizeof words);
    halves[0] = Q6_Vh_vasr_VwVwR_rnd_sat(words[1], words[0], shifts[0]);
    halves[1] = Q6_Vh_vasr_VwVwR_rnd_sat(words[3], words[2], shifts[0]);
    bytes = Q6_Vub_vasr_VhVhR_rnd_sat(halves[1], halves[0], shifts[1]);
    give(halves, sizeof halves);
    give(&bytes, sizeof bytes);
  }
}
