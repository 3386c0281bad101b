import { afterAll, beforeAll } from 'vitest';
import type { KeySources } from '../../src/pipeline/filter.ts';
import { filterFor } from '../../src/pipeline/filter_for.ts';
import { makeAgeKey, makeGpgKeyring, makeKeyFolder } from '../support/encryption_keys.ts';
import { filterContract } from './filter.ts';

let keys: KeySources;
let ageRecipients: string[];
let gpgRecipients: string[];
let removeKeys: () => Promise<void>;

beforeAll(async () => {
  const folder = await makeKeyFolder();
  const age = await makeAgeKey(folder.path, 'one');
  const gpg = await makeGpgKeyring(folder.path, 'ring');
  keys = { identityFile: age.identity, gpgHome: gpg.home };
  ageRecipients = [age.recipient];
  gpgRecipients = [gpg.fingerprint];
  removeKeys = () => folder.remove([gpg.home]);
});

afterAll(() => removeKeys());

filterContract('zstd', () => filterFor({ name: 'zstd', level: 3 }));
filterContract('gzip', () => filterFor({ name: 'gzip', level: 6 }));
filterContract(
  'age',
  () => filterFor({ name: 'age', recipients: ageRecipients }),
  () => ({ keys }),
  true,
);
filterContract(
  'gpg',
  () => filterFor({ name: 'gpg', recipients: gpgRecipients }),
  () => ({ keys }),
  true,
);
