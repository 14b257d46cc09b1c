// The sorted sets of a keyspace: registers their large form, and hands out what reads and what changes them.
import type { Internals } from './internals.ts';
import { Encoding, ValueType } from './types.ts';
import { ZsetEditor } from './zset-edit.ts';
import { ZsetTree } from './zset-tree.ts';
import { ZsetView } from './zset-view.ts';

export class Zsets {
  /** One for whoever reads one set and is done before anybody else reads. */
  readonly view: ZsetView;
  readonly editor: ZsetEditor;
  readonly #internals: Internals;
  readonly #form: ZsetTree;

  constructor(internals: Internals) {
    this.#internals = internals;
    this.#form = new ZsetTree(internals.memory, internals.hasher);
    internals.records.kinds.register(ValueType.zset, Encoding.skiplist, this.#form);
    this.view = this.newView();
    this.editor = new ZsetEditor(internals, this.#form);
  }

  newView(): ZsetView {
    return new ZsetView(this.#internals, this.#form);
  }
}
