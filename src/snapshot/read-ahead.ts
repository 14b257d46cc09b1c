/** The same chunks; the next is asked for while the caller is at one, so a chunk must stay as it is when the next one comes. */
export async function* readAhead(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = chunks[Symbol.asyncIterator]();
  const ask = (): Promise<IteratorResult<Uint8Array>> => {
    const asked = source.next();
    // Whoever awaits it later throws what it rejects with; until then nobody does.
    asked.catch(() => {});
    return asked;
  };
  let next = ask();
  try {
    for (;;) {
      const step = await next;
      if (step.done === true) return;
      next = ask();
      yield step.value;
    }
  } finally {
    // Not waited for: what is asked for already may take as long as a store that is away. Nor is what fails in closing it of any use.
    source.return?.().catch(() => {});
  }
}
