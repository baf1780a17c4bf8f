import { Redactor } from '../src/redact.ts';

/** What redaction costs at every exec: medians of 15 rounds, microseconds per command line. */

const redactor = new Redactor();
const own = new Redactor([/licen[cs]e=(\S+)/]);

const LINES: readonly (readonly [title: string, args: readonly string[], with_: Redactor])[] = [
  ['short (ls -l)', ['ls', '-l'], redactor],
  [
    '100 bytes, no secret',
    'java -Xmx2g -XX:+UseG1GC -jar /srv/shop/shop.jar --spring.profiles.active=prod --server.port=8080 -v'.split(
      ' ',
    ),
    redactor,
  ],
  [
    '100 bytes, own pattern',
    'java -Xmx2g -XX:+UseG1GC -jar /srv/shop/shop.jar --spring.profiles.active=prod --server.port=8080 -v'.split(
      ' ',
    ),
    own,
  ],
  ['a URL', ['curl', '-s', 'https://example.org/a/path/of/some/length/index.html?page=2&sort=asc'], redactor],
  ['1 secret', ['app', '--host', 'db', '--password', 'hunter2', '--verbose'], redactor],
  [
    'script, 2 secrets',
    ['sh', '-c', 'mysql -uroot -psecret shop < dump.sql; curl -u a:b https://example.org/'],
    redactor,
  ],
  ['class path, 4 KiB', ['java', '-cp', '/usr/share/java/commons.jar:'.repeat(146), 'Main'], redactor],
  ['hostile, 2 MiB', ['x', 'password=a,b "'.repeat(149_796)], redactor],
];

console.table(
  Object.fromEntries(
    LINES.map(([title, args, with_]) => [
      title,
      { bytes: args.join(' ').length, 'µs each': Number(median(args, with_).toPrecision(3)) },
    ]),
  ),
);

function median(args: readonly string[], with_: Redactor): number {
  const bytes = args.join(' ').length;
  const runs = Math.max(1, Math.round(2_000_000 / (bytes + 50)));
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now();
    for (let i = 0; i < runs; i++) with_.args(args);
    return ((performance.now() - start) * 1000) / runs;
  });
  return times.toSorted((a, b) => a - b)[7]!;
}
