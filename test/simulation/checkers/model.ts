// What the data ought to be: an independent, slow and obvious model of the few commands that the workload uses. It keeps
// every version of every key, so that "what did a read at position p see" has an answer for every p.
//
// A position is a place in the log between records: position p is the state after the p-th record (an entry without
// records counts as one, for it moves log time).

interface Version {
  readonly position: number;
  readonly value: string | null;
  /** Log time, ms; −1 for none. */
  readonly deadlineMs: number;
}

export type Plain = string | number | null | Plain[];

export class Model {
  readonly #keys = new Map<string, Version[]>();
  /** Log time at each position. */
  readonly #timeMs: number[] = [0];

  get position(): number {
    return this.#timeMs.length - 1;
  }

  get keys(): IterableIterator<string> {
    return this.#keys.keys();
  }

  /** One more position, at this log time; changes made from now on are its own. */
  advance(timeMs: number): void {
    this.#timeMs.push(Math.max(timeMs, this.#timeMs[this.position]!));
  }

  timeMs(position: number): number {
    return this.#timeMs[position]!;
  }

  /** The key as a read at `position` sees it. */
  value(key: string, position: number): string | null {
    return this.#live(key, position, this.#timeMs[position]!)?.value ?? null;
  }

  /** As a record at the newest position sees it before it changes anything. */
  valueNow(key: string): string | null {
    return this.#liveNow(key)?.value ?? null;
  }

  #liveNow(key: string): Version | undefined {
    return this.#live(key, this.position, this.#timeMs[this.position]!);
  }

  #live(key: string, position: number, nowMs: number): Version | undefined {
    const version = this.#at(key, position);
    if (version === undefined || version.value === null) return undefined;
    return version.deadlineMs >= 0 && nowMs > version.deadlineMs ? undefined : version;
  }

  #at(key: string, position: number): Version | undefined {
    const versions = this.#keys.get(key);
    if (versions === undefined) return undefined;
    let low = 0;
    let high = versions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (versions[middle]!.position <= position) low = middle + 1;
      else high = middle;
    }
    return versions[low - 1];
  }

  #put(key: string, value: string | null, deadlineMs: number): void {
    const versions = this.#keys.get(key);
    const version = { position: this.position, value, deadlineMs };
    if (versions === undefined) this.#keys.set(key, [version]);
    else versions.push(version);
  }

  /** The deletion record of the active cycle or of a read. */
  expire(key: string, deadlineMs: number, seenAtMs: number): void {
    const version = this.#at(key, this.position);
    if (version === undefined || version.value === null || version.deadlineMs !== deadlineMs) return;
    if (Math.max(this.#timeMs[this.position]!, seenAtMs) > deadlineMs) this.#put(key, null, -1);
  }

  /** Runs a write at the newest position; the reply it must have. */
  run(words: readonly string[]): Plain {
    const [name = '', key = '', argument = ''] = words;
    const nowMs = this.#timeMs[this.position]!;
    const live = this.#liveNow(key);
    switch (name.toUpperCase()) {
      case 'SET':
        this.#put(key, argument, words[3] === 'PX' ? nowMs + Number(words[4]) : -1);
        return 'OK';
      case 'MSET':
        for (let i = 1; i + 1 < words.length; i += 2) this.#put(words[i]!, words[i + 1]!, -1);
        return 'OK';
      case 'INCRBY': {
        const sum = Number(live?.value ?? '0') + Number(argument);
        this.#put(key, String(sum), live?.deadlineMs ?? -1);
        return sum;
      }
      case 'APPEND': {
        const value = (live?.value ?? '') + argument;
        this.#put(key, value, live?.deadlineMs ?? -1);
        return value.length;
      }
      case 'PEXPIRE':
        if (live === undefined) return 0;
        this.#put(key, live.value, nowMs + Number(argument));
        return 1;
      case 'DEL': {
        let count = 0;
        for (const each of words.slice(1)) {
          if (this.#liveNow(each) === undefined) continue;
          this.#put(each, null, -1);
          count++;
        }
        return count;
      }
      case 'GET':
        return live?.value ?? null;
      default:
        throw new Error(`the model does not know ${name}`);
    }
  }

  /** What a read at `position` answers. */
  read(words: readonly string[], position: number): Plain {
    switch (words[0]) {
      case 'GET':
        return this.value(words[1]!, position);
      case 'MGET':
        return words.slice(1).map((key) => this.value(key, position));
      case 'STRLEN':
        return this.value(words[1]!, position)?.length ?? 0;
      case 'EXISTS':
        return words.slice(1).filter((key) => this.value(key, position) !== null).length;
      default:
        throw new Error(`the model does not know ${words[0]}`);
    }
  }
}
