import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { SpareMemory } from '../src/spare-memory.ts';
import { stateDir } from './store/temporary.ts';

const ROOT = path.join(import.meta.dirname, '..');
const skip = process.getBuiltinModule('node:ffi') === undefined && 'no node:ffi';
const MODULE = path.join(ROOT, 'src', 'spare-memory.ts');

/** Runs it in a process of its own: memory of a process that runs tests is anybody's. */
function measured(code: string): { before: number; after: number } {
  const program = `
    import { readFileSync } from 'node:fs';
    import { collectGarbage, trimArenas } from ${JSON.stringify(MODULE)};
    const anonymous = () => Number(/^Anonymous: +(\\d+)/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]);
    ${code}
    console.log(JSON.stringify({ before, after: anonymous() }));`;
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program];
  return JSON.parse(execFileSync(process.execPath, argv, { encoding: 'utf8' }));
}

test('a heap is collected after the start, and again when it has grown by 3 MB', () => {
  let bytes = 20 << 20;
  let collected = 0;
  const spare = new SpareMemory(
    () => {
      collected++;
      bytes = 8 << 20;
    },
    () => bytes,
  );
  spare.look();
  assert.equal(collected, 1);
  bytes = 10 << 20;
  spare.look();
  assert.equal(collected, 1);
  bytes = 11 << 20;
  spare.look();
  assert.equal(collected, 2);
});

test('what cannot be given back is no reason to try again', () => {
  let collected = 0;
  const spare = new SpareMemory(
    () => collected++,
    () => 40 << 20,
  );
  spare.look();
  spare.look();
  assert.equal(collected, 1);
});

const GARBAGE = `
  let kept = Array.from({ length: 200_000 }, (_, index) => ({ index }));
  kept = undefined;
  const before = anonymous();
  collectGarbage();`;

test('what was garbage goes back to the system', () => {
  const { before, after } = measured(GARBAGE);
  assert.ok(after < before - 4_000, `${before} kB before, ${after} kB after`);
});

/** V8 takes what was compiled under another one for foreign, Node.js's own modules too. */
function versionTag(flags: readonly string[], before = ''): string {
  const program = `
    import { cachedDataVersionTag } from 'node:v8';
    import { collectGarbage } from ${JSON.stringify(MODULE)};
    ${before}
    console.log(cachedDataVersionTag());`;
  const argv = [...flags, '--input-type=module', '--eval', program];
  return execFileSync(process.execPath, argv, { encoding: 'utf8' });
}

test('after a collection Node.js still loads its modules as they come compiled', () => {
  assert.equal(versionTag([], 'collectGarbage();'), versionTag([]));
});

test('the agent starts with no flag under which Node.js would compile its modules itself', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const flags = scripts.start.match(/ --\S+/g).map((flag: string) => flag.trim());
  assert.equal(versionTag(flags), versionTag([]));
  assert.notEqual(versionTag([...flags, '--expose-gc']), versionTag([]));
});

/** One block in ten stays, so that none of the others is at the end of the heap. */
const FREED = `
  const ffi = process.getBuiltinModule('node:ffi');
  const { functions } = ffi.dlopen('libc.so.6', {
    malloc: { arguments: ['u64'], return: 'pointer' },
    free: { arguments: ['pointer'], return: 'void' },
    memset: { arguments: ['pointer', 'i32', 'u64'], return: 'pointer' },
  });
  const blocks = Array.from({ length: 1_000 }, () => functions.malloc(20_000n));
  for (const block of blocks) functions.memset(block, 1, 20_000n);
  blocks.forEach((block, index) => index % 10 === 0 || functions.free(block));
  const before = anonymous();`;

test('what was freed in between goes back, too', { skip }, () => {
  const { before, after } = measured(`${FREED} trimArenas();`);
  assert.ok(after < before - 8_000, `${before} kB before, ${after} kB after`);
});

test('what was freed goes back also where the heap has not grown', { skip }, () => {
  const { before, after } = measured(
    `const { giveBackSpareMemory } = await import(${JSON.stringify(MODULE)});
     let look;
     globalThis.setTimeout = (callback) => (look = callback);
     giveBackSpareMemory(() => {});
     look();
     ${FREED}
     look();`,
  );
  assert.ok(after < before - 8_000, `${before} kB before, ${after} kB after`);
});

test('what the store keeps of its database goes back', { skip }, (t) => {
  const { before, after } = measured(
    `const { openStore } = await import(${JSON.stringify(path.join(ROOT, 'test/store/temporary.ts'))});
     const { storm } = await import(${JSON.stringify(path.join(ROOT, 'test/incidents.ts'))});
     const { store } = openStore({ after() {} }, { stateDir: ${JSON.stringify(stateDir(t))}, sinks: [] });
     store.commit(storm(1_000).map(({ incident }) => incident));
     collectGarbage();
     trimArenas();
     const before = anonymous();
     store.shrink();
     trimArenas();`,
  );
  assert.ok(after < before - 400, `${before} kB before, ${after} kB after`);
});
