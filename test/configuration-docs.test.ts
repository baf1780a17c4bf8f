import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { catalogue, headingOf, type OptionGroup, secretFileName } from '../src/config/catalogue.ts';
import { dashed, environmentName, type Option } from '../src/config/option.ts';
import { loadSinks } from '../src/sinks.ts';

const DOCUMENT = new URL('../docs/configuration.md', import.meta.url);
const MARKER = '<!-- options -->\n';

test('docs/configuration.md describes every option as it is (UPDATE_DOCS=1 writes it)', async () => {
  const { groups } = catalogue(await loadSinks());
  const [prose = '', actual] = readFileSync(DOCUMENT, 'utf8').split(MARKER);
  const expected = groups.map(section).join('');
  if (process.env.UPDATE_DOCS) writeFileSync(DOCUMENT, `${prose}${MARKER}${expected}`);
  else assert.equal(firstDifference(actual ?? '', expected), undefined);
});

/** Line by line, because the whole is longer than anybody wants to read in a failure. */
function firstDifference(actual: string, expected: string): { is: string; shouldBe: string } | undefined {
  if (actual === expected) return undefined;
  const is = actual.split('\n');
  const shouldBe = expected.split('\n');
  const at = shouldBe.findIndex((line, index) => line !== is[index]);
  return { is: is.at(at) ?? '', shouldBe: shouldBe[at] ?? '' };
}

function section(group: OptionGroup): string {
  const { options } = group;
  return `\n### ${headingOf(group)}\n\n| option | default | meaning |\n| --- | --- | --- |\n${options.map(row).join('')}`;
}

function row(option: Option): string {
  const { name, value, help, default: text, aliases } = option;
  const names = [`\`--${name}${value === undefined ? '' : ` ${value}`}\`<br>\`${environmentName(name)}\``];
  if (option.secret) names.push(`\`--${secretFileName(option)} PATH\``);
  if (aliases) names.push(`also ${aliases.map((alias) => `\`${dashed(alias)}\``).join(', ')}`);
  const cells = [names.join('<br>'), text ? `\`${text}\`` : '', help];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}
