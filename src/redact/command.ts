import { isHarmlessValue, secretWord } from './names.ts';
import { HTPASSWD, MC, MYSQLADMIN, PositionReader, type Positions, RABBITMQCTL, VAULT } from './position.ts';
import type { Range } from './range.ts';
import { basicCredentialsEnd } from './shape.ts';

/** An option whose value is a secret only because of the program that it is given to. */
interface SecretOption {
  /** Matches from the word's beginning to where an attached value would begin. */
  readonly match: RegExp;
  /** The value must be attached: `mysql -p name` asks for the password and `name` is the database. */
  readonly attachedOnly?: true;
  /** Only what follows it in the value is secret, as in `user:password`. */
  readonly after?: string;
}

interface Program {
  readonly options?: readonly SecretOption[];
  /** `--password` takes no value here: it asks. */
  readonly asks?: true;
  /** `user/password@database` as an argument. */
  readonly login?: true;
  /** `-u` is no login here: a user and its group (`docker run -u app:app`), or a switch (`rsync -u host:dir`). */
  readonly noLoginU?: true;
  readonly positions?: Positions;
}

const PASSWORD_P: Program = { options: [{ match: /^-p/ }] };
const PASSWORD_CAPITAL_P: Program = { options: [{ match: /^-P/ }] };
const MYSQL: Program = { options: [{ match: /^-p/, attachedOnly: true }], asks: true };
const REDIS: Program = { options: [{ match: /^-a/ }] };
const LDAP: Program = { options: [{ match: /^-[AcCLMnvxZ]*w/ }] };
const SMB: Program = { options: [{ match: /^-U|^--user=?/, after: '%' }] };
const SNMP: Program = { options: [{ match: /^-[AXc]/ }] };
const POSTGRES: Program = { asks: true };
const ORACLE: Program = { login: true };
const NO_LOGIN_U: Program = { noLoginU: true };

const PROGRAMS = new Map<string, Program>();
for (const [names, program] of [
  ['mysql mysqlbinlog mysqlcheck mysqldump mysqlimport mysqlpump mysqlsh mysqlshow mysqlslap', MYSQL],
  ['mariadb', MYSQL],
  ['mysqladmin mariadb-admin', { ...MYSQL, positions: MYSQLADMIN }],
  ['psql pg_dump pg_dumpall pg_restore pg_basebackup createdb dropdb vacuumdb pgbench', POSTGRES],
  ['redis-cli valkey-cli keydb-cli', REDIS],
  [
    'sshpass mongo mongosh mongodump mongorestore mongoimport mongoexport cqlsh login twine useradd usermod rdesktop',
    PASSWORD_P,
  ],
  ['7z 7za 7zr rar unrar', { options: [{ match: /^-(?:hp|p)/, attachedOnly: true }] }],
  ['sqlcmd bcp tsql ipmitool mosquitto_pub mosquitto_sub', PASSWORD_CAPITAL_P],
  ['zip unzip', { options: [{ match: /^-[0-9A-OQ-Za-z]*P/ }] }],
  ['ldapsearch ldapmodify ldapadd ldapdelete ldapwhoami kadmin', LDAP],
  ['ldappasswd', { options: [...LDAP.options!, { match: /^-[as]/ }] }],
  ['smbclient smbget rpcclient', SMB],
  ['snmpget snmpwalk snmpbulkwalk snmpset', SNMP],
  ['sqlplus sqlldr expdp impdp', ORACLE],
  ['ab', { options: [{ match: /^-[AP]/, after: ':' }] }],
  ['consul nomad serf', { options: [{ match: /^--?encrypt(?:=|$)/ }] }],
  ['htpasswd', { positions: HTPASSWD }],
  ['rabbitmqctl', { positions: RABBITMQCTL }],
  ['mc', { positions: MC }],
  ['vault bao', { positions: VAULT }],
  [
    'docker docker-compose podman podman-compose nerdctl buildah crictl ctr runc crun lxc lxc-attach incus',
    NO_LOGIN_U,
  ],
  ['kubectl oc', { ...NO_LOGIN_U, options: [{ match: /^--from-literal=?/, after: '=' }] }],
  ['chpst daemon start-stop-daemon supervise-daemon setpriv nsjail', NO_LOGIN_U],
  ['cp diff exportfs git lpadmin mv rsync sed socat sort', NO_LOGIN_U],
  ['openssl', { options: [{ match: /^-(?:[kK]|hmac)$/ }] }],
  ['ss-server ss-local ss-redir sslocal ssserver', { options: [{ match: /^-k/ }] }],
  ['ttyd gotty', { options: [{ match: /^-c/, after: ':' }] }],
  ['xfreerdp xfreerdp3 wlfreerdp wine wine64', { options: [{ match: /^\/p:/ }] }],
  ['lftp', { options: [{ match: /^-u/, after: ',' }] }],
  ['http https', { options: [{ match: /^-a|^--auth=?/, after: ':' }] }],
  ['etcdctl', { options: [{ match: /^--user=?/, after: ':' }] }],
  [
    'curl',
    {
      options: [
        { match: /^-[0-46aBfgGiIjJklLMnNOpqRsSvZ#]*[EuU]|^--(?:proxy-)?(?:user=?|cert(?:=|$))/, after: ':' },
        { match: /^-[0-46aBfgGiIjJklLMnNOpqRsSvZ#]*b/, after: '=' },
      ],
    },
  ],
] as const)
  for (const name of names.split(' ')) PROGRAMS.set(name, program);

const LONGEST_NAME = 64;
const ENTRY_POINT = '--entrypoint=';
const LOOKS_LIKE_OPTION = /^-(?:-[A-Za-z][A-Za-z_-]*|[A-Za-z][A-Za-z-]*)(?:=|$)|^--$/;
/** `/p:password` of FreeRDP and of Windows' programs is one, too. */
const OPTION = /^(?:-|\/p:)/;
const OPTION_NAME = /^--?[A-Za-z_][\w.-]{0,126}$/;
/** `aws configure set aws_secret_access_key x`, `redis-cli CONFIG SET requirepass x`. */
const SETS = new Set(['set', 'SET']);
const SETTING = /^[\w./:-]{1,128}$/;
const PORTS = /^\d+:\d/;
const USER_OPTION = /^(?:-u|--user)(?:=|$)/;
/** Ids (`1000:1000`) and URLs (`pip install --user git+https://...`) are no logins. */
const LOGIN = /^["']?[\w.@*$\\+][\w.@*$\\+-]{0,127}:(?!\/\/|[\d:]+["']?$)(?=.)/s;
const BASIC = /(?:^|[:=])basic$/i;

/** Reads a command's words in order and tells for each which part of it is a secret. */
export class CommandReader {
  /** All that were named so far: `docker exec db mysql -px` is mysql's, and a mistake only hides too much. */
  readonly #programs = new Set<Program>();
  #previous = '';
  /** What the next word is the value of. */
  #awaiting: { readonly word?: string; readonly after?: string; readonly login?: true } | undefined;
  #positions: PositionReader | undefined;

  /** Whether the next word is a secret, spaces and all. */
  get awaitsValue(): boolean {
    return this.#awaiting !== undefined || this.#positions?.isCounting === true;
  }

  /** Another command begins. */
  next(): void {
    this.#programs.clear();
    this.#previous = '';
    this.#awaiting = undefined;
    this.#positions = undefined;
  }

  read(word: string): Range | undefined {
    const awaiting = this.#awaiting;
    this.#awaiting = undefined;
    // A switch that only sounds like a secret's name (`mongod --auth --port 1`) must not swallow the option after it.
    if (awaiting?.login) {
      const password = passwordOfLogin(word, 0);
      if (password) return password;
    } else if (awaiting && !LOOKS_LIKE_OPTION.test(word)) {
      // `--authorization Basic dTpw`: the secret is the word after it.
      const isScheme = awaiting.word?.startsWith('auth') && BASIC.test(word);
      if (isScheme) this.#previous = word;
      if (isScheme || (awaiting.word !== undefined && isHarmlessValue(awaiting.word, word))) return undefined;
      return partAfter(word, 0, awaiting.after);
    }
    if (this.#positions?.read(word)) return { start: 0, end: word.length };
    const isSetting = SETS.has(this.#previous);
    const credentialsEnd = BASIC.test(this.#previous.slice(-8)) ? basicCredentialsEnd(word, 0) : undefined;
    this.#previous = word;
    if (credentialsEnd !== undefined) return { start: 0, end: credentialsEnd };
    if (OPTION.test(word)) return this.#option(word);
    if (isSetting) this.#await(word, SETTING);
    const login = this.#programs.has(ORACLE) ? oracleLogin(word) : undefined;
    const program = programOf(word);
    if (program) this.#begin(program);
    return login;
  }

  #begin(program: Program): void {
    this.#programs.add(program);
    if (program.positions) this.#positions = new PositionReader(program.positions);
  }

  #option(word: string): Range | undefined {
    for (const program of this.#programs) {
      for (const option of program.options ?? []) {
        const length = option.match.exec(word)?.[0].length;
        if (length === undefined) continue;
        if (length < word.length) {
          if (option.attachedOnly && PORTS.test(word.slice(length, length + 8))) continue;
          return partAfter(word, length, option.after);
        }
        if (option.attachedOnly) continue;
        this.#awaiting = option.after === undefined ? {} : { after: option.after };
        return undefined;
      }
    }
    const user = USER_OPTION.exec(word)?.[0].length;
    if (user !== undefined && ![...this.#programs].some((program) => program.noLoginU)) {
      if (user < word.length) return passwordOfLogin(word, user);
      this.#awaiting = { login: true };
      return undefined;
    }
    // `docker run --entrypoint=htpasswd registry:2 -Bbn user password`
    const entry = word.startsWith(ENTRY_POINT) ? programOf(word.slice(ENTRY_POINT.length)) : undefined;
    if (entry) this.#begin(entry);
    const asks = word === '--password' && [...this.#programs].some((program) => program.asks);
    if (!asks) this.#await(word, OPTION_NAME);
    return undefined;
  }

  #await(name: string, shape: RegExp): void {
    const secret = shape.test(name) ? secretWord(name) : undefined;
    if (secret !== undefined) this.#awaiting = { word: secret };
  }
}

function programOf(word: string): Program | undefined {
  const tail = word.slice(-LONGEST_NAME);
  const name = tail.slice(tail.lastIndexOf('/') + 1);
  return PROGRAMS.get(name.startsWith('mariadb-') ? 'mariadb' : name);
}

function partAfter(word: string, from: number, separator: string | undefined): Range | undefined {
  if (separator === undefined) return { start: from, end: word.length };
  const at = word.indexOf(separator, from);
  return at === -1 ? undefined : { start: at + 1, end: word.length };
}

function passwordOfLogin(word: string, from: number): Range | undefined {
  const length = LOGIN.exec(word.slice(from))?.[0].length;
  if (length === undefined) return undefined;
  const quote = word[from];
  const isQuoted = (quote === '"' || quote === "'") && word.endsWith(quote);
  return { start: from + length, end: word.length - (isQuoted ? 1 : 0) };
}

const ORACLE_LOGIN = /^(?:userid=)?[\w$#.-]{1,128}\/(?=[^/])/;

function oracleLogin(word: string): Range | undefined {
  const start = ORACLE_LOGIN.exec(word)?.[0].length;
  if (start === undefined) return undefined;
  const at = word.indexOf('@', start);
  return { start, end: at === -1 ? word.length : at };
}
