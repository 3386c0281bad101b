import { filterFor } from '../../src/pipeline/compress.ts';
import { filterContract } from './filter.ts';

filterContract('zstd', filterFor({ name: 'zstd', level: 3 }));
filterContract('gzip', filterFor({ name: 'gzip', level: 6 }));
