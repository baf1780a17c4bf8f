import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { TlsMaterial } from '../http-post.ts';
import { OptionError } from '../option.ts';

/**
 * Reads the PEM files of `--PREFIX-ca`, `--PREFIX-cert` and `--PREFIX-key`.
 *
 * @returns undefined where none of the three is set
 * @throws OptionError for an unreadable or unusable file, and for a certificate without its key or the reverse
 */
export function readTlsFiles(
  prefix: string,
  values: Readonly<Record<string, unknown>>,
): TlsMaterial | undefined {
  const read = (option: string) => {
    const path = values[option] as string | undefined;
    if (path === undefined) return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw new OptionError(option, `--${option}: cannot read the file: ${(error as Error).message}`);
    }
  };
  const partner = (option: string, missing: string) =>
    new OptionError(option, `--${option} is set but --${missing} is not. Add --${missing} PATH.`);

  const ca = read(`${prefix}-ca`);
  const cert = read(`${prefix}-cert`);
  const key = read(`${prefix}-key`);
  if (cert !== undefined && key === undefined) throw partner(`${prefix}-cert`, `${prefix}-key`);
  if (key !== undefined && cert === undefined) throw partner(`${prefix}-key`, `${prefix}-cert`);
  if (ca !== undefined) check(`${prefix}-ca`, { ca });
  if (cert !== undefined) check(`${prefix}-cert`, { cert, key });
  if (ca === undefined && cert === undefined) return undefined;
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }) };
}

function check(option: string, material: TlsMaterial): void {
  try {
    createSecureContext(material);
  } catch (error) {
    throw new OptionError(option, `--${option}: not usable PEM: ${(error as Error).message}`);
  }
}
