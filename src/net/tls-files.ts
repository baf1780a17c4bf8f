import { OptionError } from '../config/option.ts';
import { readSmallFile } from '../config/small-file.ts';
import type { TlsMaterial } from './http-post.ts';
import { crypto, tls } from './lazy-builtins.ts';

/**
 * Reads the PEM files that the options `--PREFIX-ca`, `--PREFIX-cert` and `--PREFIX-key` name.
 *
 * @returns undefined where none of the three is set
 * @throws OptionError for an unreadable or unusable file, and for a certificate without its key or the reverse
 */
export function readTlsFiles(
  prefix: string,
  values: Readonly<Record<string, unknown>>,
): TlsMaterial | undefined {
  const options = { ca: `${prefix}-ca`, cert: `${prefix}-cert`, key: `${prefix}-key` };
  const ca = read(options.ca, values);
  const cert = read(options.cert, values);
  const key = read(options.key, values);
  if (cert !== undefined && key === undefined) throw missing(options.cert, options.key);
  if (key !== undefined && cert === undefined) throw missing(options.key, options.cert);
  // An authority that cannot be read would be passed over in silence, and every connection fail later.
  if (ca !== undefined) usable(options.ca, () => new (crypto().X509Certificate)(ca));
  if (cert !== undefined) usable(options.cert, () => tls().createSecureContext({ cert, key }));
  if (ca === undefined && cert === undefined) return undefined;
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }) };
}

function read(option: string, values: Readonly<Record<string, unknown>>): string | undefined {
  const path = values[option] as string | undefined;
  if (path === undefined) return undefined;
  try {
    return readSmallFile(path);
  } catch (error) {
    throw new OptionError(option, `--${option}: cannot read ${path}: ${(error as Error).message}`);
  }
}

function missing(option: string, partner: string): OptionError {
  return new OptionError(option, `--${option} is set but --${partner} is not. Add --${partner} PATH.`);
}

function usable(option: string, load: () => unknown): void {
  try {
    load();
  } catch (error) {
    throw new OptionError(option, `--${option}: not usable PEM: ${(error as Error).message}`);
  }
}
