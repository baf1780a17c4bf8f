import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogue } from '../src/config/catalogue.ts';
import { OptionError } from '../src/config/option.ts';
import { loadSinks } from '../src/sinks.ts';

const fixture = (folder: string) => new URL(`./fixtures/${folder}/`, import.meta.url);

test('every file with the name of a sink is a sink, in order of name; others are left alone', async () => {
  const sinks = await loadSinks(fixture('sinks'));
  assert.deepEqual(
    sinks.map(({ name }) => name),
    ['bottle', 'pigeon'],
  );
  assert.equal(typeof sinks[0]?.module.open, 'function');
});

test('the sinks of the checkout are found without naming a folder', async () => {
  const names = (await loadSinks()).map(({ name }) => name);
  assert.ok(names.includes('stdout'), names.join());
});

test('a file that is no sink is named, with what it lacks', async () => {
  await assert.rejects(loadSinks(fixture('no-sink')), /half\.ts is no sink: open: /);
});

test('two sinks that define the same option are both named', async () => {
  const sinks = await loadSinks(fixture('same-option'));
  assert.throws(
    () => catalogue(sinks),
    new OptionError(
      'bottle',
      '--bottle is defined by the sink first and by the sink second. Rename one of them.',
    ),
  );
});

test('the options of the real sinks do not collide, and begin with a name of their own', async () => {
  const { groups } = catalogue(await loadSinks());
  for (const { sink, options } of groups)
    for (const { name } of sink === undefined ? [] : options)
      assert.ok(name === sink || name.startsWith(`${sink}-`), `${name} of ${sink}`);
});
