/** What is wrong, as whoever finds it tells it; alerts are made of it. Pure. */

import type { Alert, Priority } from './alert.ts';

/** One trouble. Whether it alerts, and when again, core/alert_state.ts decides. */
export interface Trouble {
  /** What it is about: `backup`, `check.archiver`. docs/alerts.md has an entry of that name. */
  readonly event: string;
  /** Equal for the same trouble: `backup/<server>/<database>`, `check/<check>/<subject>`. */
  readonly key: string;
  readonly priority: Priority;
  /** One line for a subject or a telephone. */
  readonly title: string;
  /** What was expected, what is, since when, what to do. */
  readonly message: string;
  readonly cluster: string | null;
  readonly database: string | null;
  /** What else is known, by names of its own; never a secret. */
  readonly details: Alert['details'];
}

/** What is told once. */
export interface News extends Trouble {
  /** Not while a trouble with this key is known: whoever listens has heard of it by that name. */
  readonly unless?: string;
}

/** What a run has to say: what is wrong now, what is no longer, what else is good to know. */
export interface AlertChange {
  /** Every trouble that is there now, as far as this run can tell. */
  readonly firing?: readonly Trouble[];
  /** Keys of what is surely not there now. */
  readonly ended?: readonly string[];
  /** Whole name spaces, such as `check/`: each key in them that is not firing has ended… */
  readonly endedUnder?: readonly string[];
  /** …but these keys, or all that begin with these: nobody could tell. They stay as they are. */
  readonly unknown?: readonly string[];
  /** Told once each, never again and never resolved: successes, a run that died. */
  readonly news?: readonly News[];
}
