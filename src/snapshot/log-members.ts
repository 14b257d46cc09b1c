// Who the members of the cluster are, by the log that is followed: members come and go after the configuration of the snapshotter
// was written.
//
// What must hold: nobody is told before the log was found to be the one that the archive is of. The archive of another cluster
// under the same id has other members, and whoever follows those would find them to be of it.
import { decodeConfiguration, type ConfigurationAt, type MemberAddress } from '../base/configuration.ts';
import { entryIndex, EntryKind, entryKind } from '../base/entry.ts';

export class LogMembers {
  readonly #tell: (members: readonly MemberAddress[]) => void;
  #newest: ConfigurationAt | undefined;
  #isProven = false;

  constructor(tell: (members: readonly MemberAddress[]) => void) {
    this.#tell = tell;
  }

  /** As of some entry; undefined: the members are those of the beginning. */
  know(at: ConfigurationAt | undefined): void {
    if (at === undefined || at.index <= (this.#newest?.index ?? 0)) return;
    this.#newest = at;
    if (this.#isProven) this.#tell(at.configuration.members);
  }

  /** Committed entries, which have just come: long before they are applied. */
  seen(entries: readonly Uint8Array[]): void {
    for (const entry of entries) {
      if (entryKind(entry) !== EntryKind.membership) continue;
      const configuration = decodeConfiguration(EntryKind.membership, entry);
      if (configuration !== undefined) this.know({ index: entryIndex(entry), configuration });
    }
  }

  /** The log is the archive's. */
  prove(): void {
    this.#isProven = true;
    if (this.#newest !== undefined) this.#tell(this.#newest.configuration.members);
  }
}
