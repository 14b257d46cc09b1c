// Ways to get changes of members wrong, put in from outside: what the history answers is another thing while one is in force.
// For the tests of the random groups and of the simulation.
import { must } from '../../src/base/assert.ts';
import { ConfigurationHistory } from '../../src/raft/configuration.ts';
import type { Quorum } from '../../src/raft/quorum.ts';

export interface MembershipBug {
  readonly name: string;
  /** Breaks it for every node; the result mends it. */
  readonly breaks: () => () => void;
}

function replace(name: 'quorum' | 'isSettled', by: PropertyDescriptor): () => void {
  const sound = must(Object.getOwnPropertyDescriptor(ConfigurationHistory.prototype, name));
  Object.defineProperty(ConfigurationHistory.prototype, name, { ...by, configurable: true });
  return () => void Object.defineProperty(ConfigurationHistory.prototype, name, sound);
}

const quorumBy = (pick: (history: ConfigurationHistory) => Quorum) => () =>
  replace('quorum', {
    get(this: ConfigurationHistory): Quorum {
      return pick(this);
    },
  });

export const MEMBERSHIP_BUGS: readonly MembershipBug[] = [
  {
    name: 'a learner counts in the quorum',
    breaks: quorumBy(({ current: { configuration: { voters, outgoing, learners } } }) =>
      outgoing.length === 0 ? [[...voters, ...learners]] : [[...voters, ...learners], outgoing]),
  },
  {
    name: 'a joint configuration needs the new voters only',
    breaks: quorumBy(({ current: { configuration } }) => [configuration.voters]),
  },
  {
    name: 'a change begins while another is under way',
    breaks: () =>
      replace('isSettled', {
        value(): boolean {
          return true;
        },
      }),
  },
];
