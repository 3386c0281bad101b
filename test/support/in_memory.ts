/** Lets the folders for temporary files of a test, os.tmpdir(), lie in memory. A setup file. */

import { memoryFolder } from './memory_folder.ts';

if (memoryFolder !== null) process.env.TMPDIR = memoryFolder;
