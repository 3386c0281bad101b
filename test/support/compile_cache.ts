/** Where Node keeps compiled code, for programs that inherit nothing else, if there is a place. */

const { NODE_COMPILE_CACHE: folder } = process.env;

export const compileCache: Readonly<Record<string, string>> =
  folder === undefined ? {} : { NODE_COMPILE_CACHE: folder };
