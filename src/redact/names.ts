/**
 * Which names (of options, variables, JSON keys, headers, query parameters) stand before a secret.
 *
 * A name is taken apart into words (`--kafka-sasl-password`, `apiKey` -> api key); it names a secret if one of them
 * does and no later word makes it something about a secret (`--password-file`, `token-ttl`).
 */

const SECRET_WORDS = new Set(
  `auth authorization bearer cookie cred credential credentials creds jwt mnemonic pass passcode passphrase passwd
   password psk pswd pw pwd secret secrets sig signature token tokens`.split(/\s+/),
);
/** Ends of words, so that `PGPASSWORD` and `clientsecret` count, too. */
const SECRET_END =
  /(?:pass(?:word|wd|phrase|code)?|pwd|pswd|secrets?|tokens?|credentials?|creds|(?:master|proxy)auth|(?:api|access|secret|private|priv|account|auth|licen[cs]e|pass)keys?|jwt|cookie|signature|authorization|bearer|sess(?:ion)?id)$/;
const HARMLESS_PASS = /(?:ask|by|com|sur|tres|under|over|multi|low|high|band|single|one|two)pass$/;
/** Of a language model's alphabet: `--pad_token`, `--eos_token_id`. */
const MODEL_TOKENS = new Set(['bos', 'cls', 'eos', 'image', 'mask', 'pad', 'sep', 'special', 'stop', 'unk']);
const KEY_KINDS = new Set(
  `api access account admin app application auth client consumer crypto decryption deploy enc encrypt encryption
   functions gossip hmac ingest integration licence license master private role secret service session shared sign signing ssh
   storage subscription write`.split(/\s+/),
);
/** What follows a secret's word in the name of a thing that is no secret itself. */
const ABOUT_A_SECRET = new Set(
  `age alg algorithm algorithms arn audience backend bucket budget cache callback change check class cmd column
   command count dir directory disabled enable enabled encoder encoding endpoint env expiration expire expires expiry
   fd field file filename files folder format header headers helper host identity interval issuer jar len length limit
   location lookup manager max method methods min mode mount name names namespace only path paths per plugin policy
   port prefix prompt protocol provider rate realm ref refresh required reset ring rotation schema scheme scope
   scopes script selector server service size sock socket source space stdin store strategy suffix template timeout ttl type
   types uri url user username validation validator version`.split(/\s+/),
);
/** `--no-password`, `--ask-vault-pass`: switches. */
const SWITCH_WORDS = new Set(['no', 'ask', 'prompt', 'skip', 'without']);
/** Only as options: a `pin` in JSON is a place on a board, or anything. */
const CODE_OPTION = /^--?(?:(?:so|user|login|card|new|old)-)?(pin|t?otp)$/;
const SHELL_DIRECTORIES = new Set(['PWD', 'OLDPWD']);

const MAX_NAME = 128;

/** The word (lower case) that makes `name` the name of a secret, or undefined. Only its last 128 characters count. */
export function secretWord(name: string): string | undefined {
  if (SECRET_WORDS.has(name)) return name;
  if (SHELL_DIRECTORIES.has(name)) return undefined;
  const code = name.length < 16 && name.startsWith('-') ? CODE_OPTION.exec(name)?.[1] : undefined;
  if (code !== undefined) return code;
  const end = name.slice(-MAX_NAME);
  const words = (end.startsWith('-D') ? end.slice(2) : end).match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+/g);
  if (!words || SWITCH_WORDS.has(words[0]!.toLowerCase())) return undefined;
  for (let i = words.length - 1; i >= 0; i--) {
    const word = words[i]!.toLowerCase();
    if (isSecretWord(word, words[i - 1])) return word;
    if (ABOUT_A_SECRET.has(word)) return undefined;
  }
  return undefined;
}

function isSecretWord(word: string, previous: string | undefined): boolean {
  if (word === 'key' || word === 'keys')
    return previous !== undefined && KEY_KINDS.has(previous.toLowerCase());
  if (previous !== undefined && (word === 'token' || word === 'tokens'))
    return !MODEL_TOKENS.has(previous.toLowerCase());
  return SECRET_WORDS.has(word) || (SECRET_END.test(word) && !HARMLESS_PASS.test(word));
}

const NO_SECRET = /^(?:true|false|yes|no|on|off|none|null|\*{3})?$/i;
const AUTH_SCHEME = /^(?:basic|digest|ntlm|negotiate|kerberos|ldap|oidc|oauth2?|jwt|x509|m?tls|md5|trust)$/i;
const KEPT_FILE =
  /^(?:~|\.{0,2})\/[\w.@/-]*\.(?:pem|key|crt|p12|pfx|jks|json|ya?ml|txt|conf|cfg|ini)$|^(?:\/var)?\/run\/secrets\/[\w.@/-]+$/;

/** A secret's name does not make every value one: switches, counts and the path of a key file stay readable. */
export function isHarmlessValue(word: string, value: string): boolean {
  if (NO_SECRET.test(value) || KEPT_FILE.test(value)) return true;
  if (word === 'auth') return AUTH_SCHEME.test(value);
  // `--pin 17` is a board's, `--otp 26.2` is Erlang's, `ipfs add --pin a.txt` has a switch.
  if (word === 'pin' || word.endsWith('otp')) return /^\d{1,3}$|[./]/.test(value);
  if (word === 'tokens') return /^\d+$/.test(value);
  return word === 'pass' && /^\d$/.test(value);
}
