/** The filter that a manifest or a setting names. */

import type { FilterSpec } from '../core/manifest.ts';
import { compressionFilter } from './compress.ts';
import { encryptionFilter } from './encrypt.ts';
import type { Filter } from './filter.ts';

/**
 * The filter of a manifest. Only the names that the manifest's schema allows exist: nothing in a
 * manifest is ever executed.
 */
export function filterFor(spec: FilterSpec): Filter {
  switch (spec.name) {
    case 'zstd':
    case 'gzip':
      return compressionFilter(spec);
    case 'age':
    case 'gpg':
      return encryptionFilter(spec);
  }
}
