export class Memory {
  readonly usedBytes: number = 0;
}
