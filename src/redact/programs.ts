import {
  HTPASSWD,
  IPMITOOL,
  MC,
  MYSQLADMIN,
  OPENSSL,
  type Positions,
  QPDF,
  RABBITMQCTL,
  REDIS_AUTH,
  VAULT,
  VAULT_DATA,
  VIRSH,
  WPA,
} from './position.ts';

/** A word that has a secret in it, or stands before one, only because of the program that it is given to. */
export interface SecretWord {
  /** Matches from the word's beginning to where an attached value would begin. */
  readonly match: RegExp;
  /** The value must be attached: `mysql -p name` asks for the password and `name` is the database. */
  readonly attachedOnly?: true;
  /** Only its group is secret, with which the match ends. Absent: all of the value is. */
  readonly value?: RegExp;
}

export interface Program {
  /** Words that begin with `-`, and `/p:`. */
  readonly options?: readonly SecretWord[];
  /** Other words. */
  readonly words?: readonly SecretWord[];
  /** `--password` takes no value here: it asks. */
  readonly asks?: true;
  /** `-u` is no login here: a user and its group (`docker run -u app:app`), or a switch (`rsync -u host:dir`). */
  readonly noLoginU?: true;
  readonly positions?: readonly Positions[];
}

const AFTER_COLON = /^[^:]*:(.*)/s;
const AFTER_EQUALS = /^[^=]*=(.*)/s;
const AFTER_PERCENT = /^[^%]*%(.*)/s;
const AFTER_COMMA = /^[^,]*,(.*)/s;
/** `-p3306:3306` is a port of Docker's. */
const NO_PORTS = /^(?!\d+:\d)(.*)/s;
/** `user:password@host`; a URL's password is found at its `://`. */
const USER_INFO = /^[^\s:@/]*:(?!\/\/)([^\s/]+)(?=@)/;
const CIFS_USER = /^(?:[^,]*,)*?user(?:name)?=[^,%]*%([^,]*)/;
const QEMU_DATA = /^secret,(?:[^,]*,)*?data=([^,]*)/;
const ORACLE_LOGIN = /^[\w$#.-]{1,128}\/([^/@][^@]*)/;

const PASSWORD_P: Program = { options: [{ match: /^-p/ }] };
const PASSWORD_CAPITAL_P: Program = { options: [{ match: /^-P/ }] };
const PASSWORD_W: Program = { options: [{ match: /^-w/ }] };
const TOKEN_T: Program = { options: [{ match: /^-t/ }] };
const MYSQL: Program = { options: [{ match: /^-p/, attachedOnly: true, value: NO_PORTS }], asks: true };
const REDIS: Program = { options: [{ match: /^-a/ }], positions: [REDIS_AUTH] };
const LDAP: Program = { options: [{ match: /^-[AcCLMnvxZ]*w/ }] };
const SMB: Program = { options: [{ match: /^-U|^--user=?/, value: AFTER_PERCENT }] };
const SNMP: Program = { options: [{ match: /^-[AXc]/ }] };
const POSTGRES: Program = { asks: true };
const ORACLE: Program = {
  words: [{ match: /^(?:(?:userid|target)=)?/, attachedOnly: true, value: ORACLE_LOGIN }],
};
const BASIC_A: Program = { options: [{ match: /^-a|^--auth=?/, value: AFTER_COLON }] };
const NO_LOGIN_U: Program = { noLoginU: true };

const TABLE: readonly (readonly [names: string, program: Program])[] = [
  ['mysql mysqlbinlog mysqlcheck mysqldump mysqlimport mysqlpump mysqlshow mysqlslap', MYSQL],
  ['mariadb mariadb-binlog mariadb-check mariadb-dump mariadb-import mariadb-show mariadb-slap', MYSQL],
  ['mysqlsh', { ...MYSQL, words: [{ match: /^/, attachedOnly: true, value: USER_INFO }] }],
  ['mysqladmin mariadb-admin', { ...MYSQL, positions: [MYSQLADMIN] }],
  ['psql pg_dump pg_dumpall pg_restore pg_basebackup createdb dropdb vacuumdb pgbench', POSTGRES],
  ['redis-cli valkey-cli keydb-cli redli iredis', REDIS],
  ['sshpass mongo mongosh mongodump mongorestore mongoimport mongoexport cqlsh login twine', PASSWORD_P],
  ['useradd usermod rdesktop smbmap mycli mydumper myloader cypher-shell hdbsql beeline', PASSWORD_P],
  ['couchbase-cli cbq cbbackupmgr rabbitmqadmin ncftp ncftpget ncftpput oras racadm ipmipower', PASSWORD_P],
  ['yt-dlp youtube-dl jboss-cli.sh add-user.sh check_mysql check_pgsql nxc crackmapexec', PASSWORD_P],
  ['7z 7za 7zr rar unrar', { options: [{ match: /^-(?:hp|p)/, attachedOnly: true, value: NO_PORTS }] }],
  ['sqlcmd bcp tsql mssql-cli asadm asinfo mqttx mosquitto_pub mosquitto_sub', PASSWORD_CAPITAL_P],
  ['ipmitool', { ...PASSWORD_CAPITAL_P, positions: [IPMITOOL] }],
  ['odoo odoo-bin vsql', PASSWORD_W],
  ['influx doctl flyctl', TOKEN_T],
  ['zip unzip', { options: [{ match: /^-[0-9A-OQ-Za-z]*P/ }] }],
  ['ldapsearch ldapmodify ldapadd ldapdelete ldapwhoami kadmin', LDAP],
  ['ldappasswd', { options: [...LDAP.options!, { match: /^-[as]/ }] }],
  ['smbclient smbget smbcacls smbtree rpcclient net nmblookup samba-tool winexe wmic', SMB],
  ['wbinfo', { options: [{ match: /^-a|^--(?:authenticate|krb5auth)=?/, value: AFTER_PERCENT }] }],
  ['mount mount.cifs', { options: [{ match: /^-o/, value: CIFS_USER }] }],
  ['snmpget snmpgetnext snmpwalk snmpbulkget snmpbulkwalk snmpset snmpstatus snmptable snmptrap', SNMP],
  ['sqlplus sqlldr expdp impdp rman', ORACLE],
  ['ab', { options: [{ match: /^-[AP]/, value: AFTER_COLON }] }],
  ['consul nomad serf', { options: [{ match: /^--?encrypt(?:=|$)/ }] }],
  ['htpasswd mosquitto_passwd', { positions: [HTPASSWD] }],
  ['rabbitmqctl', { positions: [RABBITMQCTL] }],
  ['mc', { positions: [MC] }],
  ['vault bao', { positions: [VAULT, VAULT_DATA] }],
  ['docker docker-compose podman podman-compose nerdctl buildah crictl ctr', NO_LOGIN_U],
  ['runc crun lxc lxc-attach incus', NO_LOGIN_U],
  ['kubectl oc', { ...NO_LOGIN_U, options: [{ match: /^--from-literal=?/, value: AFTER_EQUALS }] }],
  ['kubeadm', { options: [{ match: /^--certificate-key=?/ }] }],
  ['chpst daemon start-stop-daemon supervise-daemon setpriv nsjail', NO_LOGIN_U],
  ['cp diff exportfs git lpadmin mv rsync sed socat sort', NO_LOGIN_U],
  [
    'openssl',
    {
      options: [{ match: /^-(?:[kK]|hmac)$/ }, { match: /^-macopt$/, value: AFTER_COLON }],
      positions: [OPENSSL],
    },
  ],
  ['qpdf', { positions: [QPDF] }],
  ['pdftk', { words: [{ match: /^(?:input|user|owner)_pw$/i }] }],
  ['pdftotext pdftoppm pdftocairo pdfinfo pdfimages pdffonts', { options: [{ match: /^-[ou]pw$/ }] }],
  ['ssh-keygen', { options: [{ match: /^-[NP]/ }] }],
  ['ccrypt', { options: [{ match: /^-K/ }] }],
  ['swaks', { options: [{ match: /^-ap$/ }] }],
  ['sendemail sendEmail', { options: [{ match: /^-xp$/ }] }],
  ['ss-server ss-local ss-redir sslocal ssserver', { options: [{ match: /^-k/ }] }],
  ['ttyd gotty', { options: [{ match: /^-c/, value: AFTER_COLON }] }],
  ['xfreerdp xfreerdp3 wlfreerdp wine wine64', { options: [{ match: /^\/p:/ }] }],
  ['lftp', { options: [{ match: /^-u/, value: AFTER_COMMA }] }],
  ['http https hey check_http', BASIC_A],
  ['etcdctl', { options: [{ match: /^--user=?/, value: AFTER_COLON }] }],
  ['nmcli', { words: [{ match: /^(?:password|[\w-]+\.(?:[\w-]*psk|[\w-]*password|wep-key\d|pin))$/ }] }],
  ['wpa_passphrase', { positions: [WPA] }],
  ['virsh', { positions: [VIRSH] }],
  [
    'qemu-system-x86_64 qemu-system-aarch64 qemu-kvm qemu-img qemu-io qemu-nbd',
    { options: [{ match: /^--?object=?/, value: QEMU_DATA }] },
  ],
  ['rclone', { words: [{ match: /^(?:obscure|pass(?:word2?)?)$/ }] }],
  ['db2', { words: [{ match: /^using$/i }] }],
  ['bitcoin-cli', { words: [{ match: /^walletpassphrase$/ }] }],
  ['ngrok', { words: [{ match: /^(?:add-)?authtoken$/ }] }],
  ['neo4j-admin', { words: [{ match: /^set-initial-password$/ }] }],
  ['grafana grafana-cli', { words: [{ match: /^reset-admin-password$/ }] }],
  [
    'curl',
    {
      options: [
        {
          match: /^-[0-46aBfgGiIjJklLMnNOpqRsSvZ#]*[EuU]|^--(?:proxy-)?(?:user=?|cert(?:=|$))/,
          value: AFTER_COLON,
        },
        {
          match: /^-[0-46aBfgGiIjJklLMnNOpqRsSvZ#]*x|^--(?:(?:pre)?proxy|socks[45]\w?(?:-hostname)?)(?:=|$)/,
          value: USER_INFO,
        },
        { match: /^-[0-46aBfgGiIjJklLMnNOpqRsSvZ#]*b/, value: AFTER_EQUALS },
      ],
    },
  ],
];

const PROGRAMS = new Map(
  TABLE.flatMap(([names, program]) => names.split(' ').map((name) => [name, program] as const)),
);

/** Programs that make a word a secret which is none elsewhere. */
export const PROGRAMS_WITH_SECRETS: readonly string[] = [...PROGRAMS].flatMap(
  ([name, { options, words, positions }]) => (options || words || positions ? [name] : []),
);

const LONGEST_NAME = 64;

/** The program that `word` names, with or without its path. */
export function programOf(word: string): Program | undefined {
  const slash = word.lastIndexOf('/');
  return word.length - slash > LONGEST_NAME
    ? undefined
    : PROGRAMS.get(slash === -1 ? word : word.slice(slash + 1));
}
