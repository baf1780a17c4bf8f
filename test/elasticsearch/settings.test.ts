import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OptionError } from '../../src/config/option.ts';
import { options } from '../../src/elasticsearch/settings.ts';
import { makeCertificates } from '../fixtures/tls.ts';
import { settings } from '../sinks/elasticsearch-sink.ts';
import { temporaryFolder } from '../temporary-folder.ts';

test('nobody asked for it', () => {
  assert.equal(settings({}), undefined);
});

test('server and index, also under the names that oom-notifier gave them', () => {
  assert.deepEqual(settings({ server: 'http://es:9200', index: 'oom' }), {
    servers: ['http://es:9200'],
    index: 'oom',
    auth: undefined,
    tls: undefined,
  });
  assert.deepEqual(
    options.filter(({ aliases }) => aliases).map(({ name, aliases }) => [name, aliases]),
    [
      ['elasticsearch-server', ['es']],
      ['elasticsearch-index', ['ei']],
    ],
  );
});

test('several servers, a path before the API, and the same one twice', () => {
  assert.deepEqual(
    settings({ server: 'http://a:9200/, https://b/es/ ,http://a:9200', index: 'oom' })?.servers,
    ['http://a:9200', 'https://b/es'],
  );
});

test('credentials in the URL are taken out of it', () => {
  const found = settings({ server: 'https://oom:p%40ss@a:9200,https://b:9200', index: 'oom' });
  assert.deepEqual(found?.servers, ['https://a:9200', 'https://b:9200']);
  assert.deepEqual(found?.auth, { username: 'oom', password: 'p@ss' });
});

test('an API key is taken encoded or as Beats write it', () => {
  const encoded = Buffer.from('id:key').toString('base64');
  for (const key of [encoded, 'id:key', ` ${encoded}\n`])
    assert.deepEqual(settings({ server: 'https://a', index: 'oom', 'api-key': key })?.auth, {
      apiKey: encoded,
    });
});

test('a text that is no value: the issue says the mend and never repeats it', () => {
  const bad: readonly (readonly [name: string, text: string, mend: RegExp])[] = [
    ['server', 'es:9200', /write http:\/\/host:9200/],
    ['server', 'ftp://u:hunter2@es', /write http:\/\/host:9200/],
    ['server', 'http://', /write http:\/\/host:9200/],
    ['server', ' , ', /write http:\/\/host:9200/],
    ['server', 'http://a:9200/?pretty', /write http:\/\/host:9200/],
    ['server', 'http://u:hunter2@a,http://u:other@b', /write it once/],
    ['server', 'http://hunter2@a', /write both/],
    ['server', 'http://u:hunter2%zz@a', /written as %25/],
    ['index', 'OOM', /lower case/],
    ['index', 'a b', /lower case/],
    ['index', '_oom', /not beginning with/],
    ['index', '..', /lower case/],
    ['index', '', /lower case/],
    ['index', 'oom*', /lower case/],
    ['index', 'x'.repeat(256), /shorter/],
    ['api-key', 'two\nhunter2', /copy it again/],
    ['username', 'a:b', /colon/],
    ['password', '', /leave it out/],
  ];
  for (const [name, text, mend] of bad)
    assert.throws(
      () => settings({ [name]: text }),
      (error: Error) => mend.test(error.message) && !error.message.includes('hunter2'),
      `${name} ${text}`,
    );
});

test('options that miss a partner or exclude each other name the option and the mend', () => {
  const server = 'https://a:9200';
  const both = { server, index: 'oom' };
  const wrong: readonly (readonly [texts: Record<string, string>, option: string, message: RegExp])[] = [
    [
      { index: 'oom' },
      'elasticsearch-index',
      /^--elasticsearch-index is set but --elasticsearch-server is not\. Add --elasticsearch-server http:\/\/host:9200 \(or OOM_WITNESS_ELASTICSEARCH_SERVER\)\.$/,
    ],
    [{ server }, 'elasticsearch-server', /Add --elasticsearch-index NAME/],
    [{ password: 'x' }, 'elasticsearch-password', /Add --elasticsearch-server/],
    [{ ...both, username: 'u' }, 'elasticsearch-username', /Add --elasticsearch-password/],
    [{ ...both, password: 'p' }, 'elasticsearch-password', /Add --elasticsearch-username/],
    [
      { ...both, username: 'u', password: 'p', 'api-key': 'k' },
      'elasticsearch-api-key',
      /exclude each other/,
    ],
    [
      { index: 'oom', server: 'https://u:p@a', 'api-key': 'k' },
      'elasticsearch-api-key',
      /exclude each other/,
    ],
    [
      { index: 'oom', server: 'https://u:p@a', username: 'u', password: 'p' },
      'elasticsearch-username',
      /exclude each other/,
    ],
    [{ ...both, cert: import.meta.filename }, 'elasticsearch-cert', /Add --elasticsearch-key PATH/],
    [{ ...both, key: import.meta.filename }, 'elasticsearch-key', /Add --elasticsearch-cert PATH/],
    [
      { index: 'oom', server: 'http://a:9200', ca: import.meta.filename },
      'elasticsearch-ca',
      /Write https:\/\//,
    ],
  ];
  for (const [texts, option, message] of wrong)
    assert.throws(
      () => settings(texts),
      (error) => error instanceof OptionError && error.option === option && message.test(error.message),
      JSON.stringify(texts),
    );
});

test('certificates are read and checked before anything starts', (t) => {
  const pem = makeCertificates(t);
  const folder = temporaryFolder(t, 'oom-witness');
  const noise = join(folder, 'noise.pem');
  writeFileSync(noise, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  const both = { server: 'https://a:9200', index: 'oom' };

  const found = settings({ ...both, ca: pem.ca, cert: pem.clientCert, key: pem.clientKey });
  assert.match(found!.tls!.key!, /PRIVATE KEY/);
  assert.throws(() => settings({ ...both, ca: noise }), { option: 'elasticsearch-ca' });
  assert.throws(() => settings({ ...both, cert: pem.clientCert, key: pem.serverKey }), {
    option: 'elasticsearch-cert',
  });
});
