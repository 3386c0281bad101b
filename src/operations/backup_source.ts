/** What is restored: a backup of the repository, or a file that lies anywhere. */

import type { Readable } from 'node:stream';
import type { HoldfastError } from '../core/errors.ts';
import type { FilterSpec, Manifest } from '../core/manifest.ts';
import type { Storage } from '../storage/storage.ts';

/** How a dump is written: pg_dump's custom format, or SQL as text. */
export type DumpFormat = 'archive' | 'sql';

/** One file of a backup, wherever it lies. */
export interface SourceFile {
  readonly name: string;
  readonly filters: readonly FilterSpec[];
  /** Opens the stored bytes from the beginning. */
  open(): Promise<Readable>;
}

/** A backup that can be read, and what is known of it. */
export interface BackupSource {
  /** For messages: a label, or a path. */
  readonly description: string;
  /** `null` for a dump that no manifest belongs to. */
  readonly manifest: Manifest | null;
  readonly dump: SourceFile;
  readonly format: DumpFormat;
  /** Of a file that may hold several databases: the one that the operator named, if he did. */
  readonly database: string | null;
  readonly globals: SourceFile | null;
  /** Bytes of the dump before compression, where known. */
  readonly plainBytes: number | null;
  /** The major version of the pg_dump that wrote it, where known. */
  readonly dumpMajor: number | null;
  /** The folder of the backup, where it has one: all its files can be verified. */
  readonly location: { readonly storage: Storage; readonly folder: string } | null;
  /** Reads it while no prune removes it, where it lies in the repository. */
  readonly hold: <T>(work: () => Promise<T>) => Promise<T>;
  /**
   * The same backup in the next store, where there is one, after this copy could not be used: it is
   * told, and damage is recorded for this copy. Without the method there is no other copy.
   */
  readonly nextCopy?: ((error: HoldfastError) => Promise<BackupSource | null>) | undefined;
}
