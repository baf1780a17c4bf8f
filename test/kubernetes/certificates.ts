/** A cluster's certificate authority, and what it signs; worth nothing after the test. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export interface Certificate {
  /** `/O=GROUP/CN=USER`: to the API server a client's subject is its identity. */
  readonly subject: string;
  readonly usage: 'serverAuth' | 'clientAuth';
  /** As openssl.cnf has them: `DNS:localhost,IP:127.0.0.1`. */
  readonly names?: string;
}

/** PEM files. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

const DAYS = '2';

export class CertificateAuthority {
  readonly #folder: string;

  /** Goes on with what the folder has; `create` makes it. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  static create(folder: string): CertificateAuthority {
    mkdirSync(folder, { recursive: true });
    const authority = new CertificateAuthority(folder);
    authority.#make('ca', '/CN=oom-witness test', [
      '-addext',
      'keyUsage=critical,keyCertSign,digitalSignature',
    ]);
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(authority.serviceAccounts.key, privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      mode: 0o600,
    });
    writeFileSync(authority.serviceAccounts.cert, publicKey.export({ type: 'spki', format: 'pem' }));
    return authority;
  }

  get pair(): KeyPair {
    return this.#files('ca');
  }

  /** The key that signs the tokens of service accounts, and its public half in the place of a certificate. */
  get serviceAccounts(): KeyPair {
    return this.#files('service-accounts');
  }

  issue(name: string, { subject, usage, names }: Certificate): KeyPair {
    const { cert, key } = this.pair;
    return this.#make(name, subject, [
      ...['-CA', cert, '-CAkey', key, '-addext', 'basicConstraints=critical,CA:FALSE'],
      ...['-addext', `extendedKeyUsage=${usage}`],
      ...(names === undefined ? [] : ['-addext', `subjectAltName=${names}`]),
    ]);
  }

  /** A kubeconfig of a client of its own, with everything inside. */
  kubeconfig(name: string, server: string, subject: string): string {
    const { cert, key } = this.issue(name, { subject, usage: 'clientAuth' });
    const inside = (file: string) => readFileSync(file).toString('base64');
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': inside(this.pair.cert) } }],
      users: [{ name, user: { 'client-certificate-data': inside(cert), 'client-key-data': inside(key) } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
      'current-context': 'test',
    });
  }

  #files(name: string): KeyPair {
    return { cert: path.join(this.#folder, `${name}.crt`), key: path.join(this.#folder, `${name}.key`) };
  }

  #make(name: string, subject: string, more: readonly string[]): KeyPair {
    const files = this.#files(name);
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-nodes',
          '-days',
          DAYS,
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
        ],
        ...['-subj', subject, '-keyout', files.key, '-out', files.cert, ...more],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    return files;
  }
}
