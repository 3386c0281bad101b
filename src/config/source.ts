/** Where a setting's value came from: told in every message about it. */

/** Where a value came from, strongest first. */
export type Origin = 'flag' | 'environment' | '.env' | 'holdfast.yaml' | 'default';

/** Where one setting's value came from, for messages. */
export interface Source {
  readonly origin: Origin;
  /** `--compression`, `PGHOST`, `connection.host`, as the user wrote it. */
  readonly name: string;
  readonly file?: string;
  readonly line?: number;
}
