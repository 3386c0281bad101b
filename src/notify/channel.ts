/** The port of the alerts: a way to whoever listens. One file for each beside this one. */

import type { Alert, Priority } from '../core/alert.ts';

/** One way to somebody. It keeps nothing and tries once: what lasts is operations/alerts/. */
export interface Channel {
  /** Unique, and the same in every run: `endpoint`, `slack`, `email`. */
  readonly name: string;
  /** What is less urgent does not go this way. */
  readonly minPriority: Priority;
  /**
   * Delivers one alert. It resolves only when the other side has said that it has it.
   *
   * @param signal ends the try; a channel gives up at once then
   * @throws HoldfastError STORE_UNREACHABLE: no answer; STORE_REFUSED: an answer that is no yes.
   *   Neither tells a secret: of a URL the host alone. Its detail `refuses_document` is true where
   *   the other side does not want this very alert, whoever sends it and however often.
   */
  send(alert: Alert, signal: AbortSignal): Promise<void>;
}
