// The connections by their number. Whoever asks for one mostly asks again: the replies of one connection's pipeline come together.
import type { Session } from './session.ts';

export class Sessions extends Map<number, Session> {
  #last: Session | undefined;

  override get(id: number): Session | undefined {
    if (this.#last?.id !== id) this.#last = super.get(id);
    return this.#last;
  }

  override set(id: number, session: Session): this {
    this.#last = undefined;
    return super.set(id, session);
  }

  override delete(id: number): boolean {
    this.#last = undefined;
    return super.delete(id);
  }

  override clear(): void {
    this.#last = undefined;
    super.clear();
  }
}
