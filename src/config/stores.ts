/** From the settings to the stores that a run works with. */

import { generalTable, type Settings, type StoreEntry, type StoreSettings } from './schema.ts';

/** For how long backups and WAL stay, by the names of the settings. */
export type RetentionSettings = Pick<
  Settings,
  | 'retention_days'
  | 'retention_daily'
  | 'retention_weekly'
  | 'retention_monthly'
  | 'wal_retention_days'
>;

/** What a store is, wherever it lies. */
interface StoreBase {
  /** `local`: BACKUP_DIR; `s3`: the bucket of the environment; else a key of `stores`. */
  readonly name: string;
  /** Whether a run fails when this store does. */
  readonly isRequired: boolean;
  /** The most that goes into it and comes out of it; `null`: no limit. */
  readonly bytesPerSecondMax: number | null;
  /** After so long in which it takes nothing it is left behind. */
  readonly stallMs: number;
  readonly retention: RetentionSettings;
}

/** A store, and where it lies. */
export type StoreSpec = StoreBase &
  (
    | { readonly kind: 'folder'; readonly path: string }
    | { readonly kind: 's3'; readonly s3: StoreSettings & { readonly bucket: string } }
  );

const bytesPerMb = 1024 * 1024;

function specOf(name: string, settings: Settings, entry: StoreEntry): StoreSpec | null {
  // A bucket of its own has a prefix of its own: that of the other one says nothing about it.
  const ownPlace = entry.bucket === undefined ? {} : { prefix: null };
  const s3: StoreSettings = { ...settings.s3, ...ownPlace, enabled: true, ...entry };
  if (!s3.enabled) return null;
  const general = generalRetention(settings);
  const retention: RetentionSettings = {
    retention_days: s3.retention_days ?? general.retention_days,
    retention_daily: s3.retention_daily ?? general.retention_daily,
    retention_weekly: s3.retention_weekly ?? general.retention_weekly,
    retention_monthly: s3.retention_monthly ?? general.retention_monthly,
    wal_retention_days: s3.wal_retention_days ?? general.wal_retention_days,
  };
  const base: StoreBase = {
    name,
    isRequired: s3.required,
    bytesPerSecondMax: s3.max_rate_mb === null ? null : s3.max_rate_mb * bytesPerMb,
    stallMs: s3.stall_seconds * 1000,
    retention,
  };
  if (entry.path !== undefined) return { ...base, kind: 'folder', path: entry.path };
  const { bucket } = s3;
  return bucket === null ? null : { ...base, kind: 's3', s3: { ...s3, bucket } };
}

/** The name of the store in BACKUP_DIR. */
export const localName = 'local';

const defaultRetention: RetentionSettings = {
  retention_days: generalTable.retention_days.default,
  retention_daily: generalTable.retention_daily.default,
  retention_weekly: generalTable.retention_weekly.default,
  retention_monthly: generalTable.retention_monthly.default,
  wal_retention_days: generalTable.wal_retention_days.default,
};

/** A folder by itself, as the store that it is in a repository without others. */
export function localSpec(
  path: string,
  retention: RetentionSettings = defaultRetention,
  stallSeconds = 300,
): StoreSpec {
  return {
    kind: 'folder',
    name: localName,
    path,
    isRequired: true,
    bytesPerSecondMax: null,
    stallMs: stallSeconds * 1000,
    retention,
  };
}

/** For how long backups and WAL stay where a store says nothing else. */
function generalRetention(settings: Settings): RetentionSettings {
  const { retention_days, retention_daily, retention_weekly, retention_monthly } = settings;
  const { wal_retention_days } = settings;
  return {
    retention_days,
    retention_daily,
    retention_weekly,
    retention_monthly,
    wal_retention_days,
  };
}

/**
 * The stores of a run, the first of which it works with: BACKUP_DIR unless `local_copy` is off, the
 * bucket of `s3`, and those of `stores` in the order of the file.
 */
export function storesOf(settings: Settings): readonly StoreSpec[] {
  const { backup_dir: path, local_copy: isLocal, s3 } = settings;
  const others = [
    specOf('s3', settings, s3),
    ...Object.entries(settings.stores).map(([name, entry]) => specOf(name, settings, entry)),
  ].filter((spec) => spec !== null);
  if (!isLocal) return others;
  return [localSpec(path, generalRetention(settings), s3.stall_seconds), ...others];
}
