import { cpSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Certificates, makeCertificates } from '../fixtures/tls.ts';
import { temporaryFolder } from '../temporary-folder.ts';

type Cleanup = Parameters<typeof makeCertificates>[0];

const FILES = ['ca.crt', 'tls.crt', 'tls.key', 'password'] as const;

/**
 * A client's identity in a folder, as kubelet mounts a Secret: `ca.crt`, `tls.crt`, `tls.key` and `password` are symlinks through `..data`,
 * which is replaced in one step.
 */
export class MountedSecret {
  readonly #t: Cleanup;
  readonly #folder: string;
  #generation = 0;

  constructor(t: Cleanup) {
    this.#t = t;
    this.#folder = temporaryFolder(t, 'oom-witness-secret');
    for (const name of FILES) symlinkSync(`..data/${name}`, this.path(name));
  }

  path(name: (typeof FILES)[number]): string {
    return path.join(this.#folder, name);
  }

  /** @returns the certificates of a new authority, of which the client's part is in the folder now */
  issue(password: string): Certificates {
    const pem = makeCertificates(this.#t);
    this.mount(pem, password);
    return pem;
  }

  mount(pem: Certificates, password: string): void {
    const generation = `..${++this.#generation}`;
    const at = (name: string) => path.join(this.#folder, generation, name);
    mkdirSync(path.join(this.#folder, generation));
    cpSync(pem.ca, at('ca.crt'));
    cpSync(pem.clientCert, at('tls.crt'));
    cpSync(pem.clientKey, at('tls.key'));
    writeFileSync(at('password'), `${password}\n`);
    symlinkSync(generation, path.join(this.#folder, '..data_tmp'));
    renameSync(path.join(this.#folder, '..data_tmp'), path.join(this.#folder, '..data'));
  }
}
