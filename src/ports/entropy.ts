/** Randomness that is not replicated: incarnation ids, client-visible random picks by reads, election jitter seeds. */
export interface Entropy {
  uint32(): number;
}
