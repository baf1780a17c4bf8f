import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Redactor } from '../src/redact.ts';
import { ADVERSARIES, PIECES } from './redact/adversaries.ts';
import { threadCpuClock } from './thread-cpu-time.ts';

const redactor = new Redactor();
// Put together here, so that no scanner takes this file for a leak.
const GITHUB = `ghp_${'a1B2c3D4e5'.repeat(4)}`;
const JWT = `eyJhbGciOiJIUzI1NiJ9.${'eyJzdWIiOiIxIn0'}.dBjftJeZ4CVP_mB92K27uhbUJU1p1r`;
const SLACK_PATH = ['T00000000', 'B00000000', 'XXXXXXXXXXXXXXXXXXXXXXXX'].join('/');
const PEM = '-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----';

/** Each row: the arguments (split at single blanks unless given as a list), what becomes of them. */
type Row = readonly [readonly string[] | string, readonly string[] | string];

function check(rows: readonly Row[], title: string): void {
  describe(title, () => {
    for (const [before, after] of rows) {
      const args = typeof before === 'string' ? before.split(' ') : [...before];
      const expected = typeof after === 'string' ? after.split(' ') : [...after];
      test(args.join(' ').slice(0, 100), () => {
        const once = redactor.args(args);
        assert.deepEqual(once.args, expected);
        assert.equal(once.count > 0, args.join() !== expected.join(), 'count');
        assert.deepEqual(redactor.args(once.args), { args: expected, count: 0 }, 'a second time');
      });
    }
  });
}

check(
  [
    ['app --password=hunter2', 'app --password=***'],
    ['app --password hunter2 --verbose', 'app --password *** --verbose'],
    [
      ['app', '--password', 'two words', '-v'],
      ['app', '--password', '***', '-v'],
    ],
    [
      ['app', '--password=a b&c;d"e'],
      ['app', '--password=***'],
    ],
    ['app -password hunter2', 'app -password ***'],
    ['app --PASSWORD=hunter2', 'app --PASSWORD=***'],
    ['app --db_password=x1 --dbPassword=x2', 'app --db_password=*** --dbPassword=***'],
    ['app --client-secret s --auth-token t', 'app --client-secret *** --auth-token ***'],
    ['app --kafka-sasl-password p', 'app --kafka-sasl-password ***'],
    ['app apiKey=abc access-token=abc', 'app apiKey=*** access-token=***'],
    ['app --api-key abc --apikey=abc', 'app --api-key *** --apikey=***'],
    ['app --passphrase p --passwd p --pass p', 'app --passphrase *** --passwd *** --pass ***'],
    ['keytool -storepass changeit -keypass changeit', 'keytool -storepass *** -keypass ***'],
    ['java -Dspring.datasource.password=v -jar a.jar', 'java -Dspring.datasource.password=*** -jar a.jar'],
    ['java -Djavax.net.ssl.keyStorePassword=v', 'java -Djavax.net.ssl.keyStorePassword=***'],
    ['beam -setcookie monster', 'beam -setcookie ***'],
    ['helm --set db.password=v,image.tag=1', 'helm --set db.password=***,image.tag=1'],
    ['kubectl --from-literal=password=v', 'kubectl --from-literal=password=***'],
    ['docker run -e MYSQL_ROOT_PASSWORD=v mysql:8', 'docker run -e MYSQL_ROOT_PASSWORD=*** mysql:8'],
    ['wget --http-password=v http://h/', 'wget --http-password=*** http://h/'],
    ['npm --//registry.example/:_authToken=v', 'npm --//registry.example/:_authToken=***'],
    [
      ['kubectl', '--from-literal=password=two words'],
      ['kubectl', '--from-literal=password=***'],
    ],
    ['aws configure set aws_secret_access_key v', 'aws configure set aws_secret_access_key ***'],
    ['redis-cli config set requirepass v', 'redis-cli config set requirepass ***'],
    ['redis-server --requirepass v', 'redis-server --requirepass ***'],
    ['vault --secret-id 1234', 'vault --secret-id ***'],
    ['app password2=v PASSWORD_READER=v', 'app password2=*** PASSWORD_READER=***'],
  ],
  'options and assignments',
);

check(
  [
    ['env PGPASSWORD=v psql -h db', 'env PGPASSWORD=*** psql -h db'],
    ['MYSQL_PWD=v REDISCLI_AUTH=v', 'MYSQL_PWD=*** REDISCLI_AUTH=***'],
    ['AWS_SECRET_ACCESS_KEY=/v+1 run', 'AWS_SECRET_ACCESS_KEY=*** run'],
    ['SECRET_KEY_BASE=v DJANGO_SECRET_KEY=v', 'SECRET_KEY_BASE=*** DJANGO_SECRET_KEY=***'],
    [
      ['env', 'DB_PASSWORD=two words'],
      ['env', 'DB_PASSWORD=***'],
    ],
    [
      ['x', 'password=v host=db user=u'],
      ['x', 'password=*** host=db user=u'],
    ],
    [
      ['x', 'host=db password=v dbname=d'],
      ['x', 'host=db password=*** dbname=d'],
    ],
    [
      ['x', "host=db password='it is' dbname=d"],
      ['x', "host=db password='***' dbname=d"],
    ],
    [
      ['x', 'password = v'],
      ['x', 'password = ***'],
    ],
  ],
  'environment and key=value',
);

check(
  [
    ['x postgres://u:p@h/db', 'x postgres://u:***@h/db'],
    ['x redis://:p@h:6379/0', 'x redis://:***@h:6379/0'],
    ['x amqp://u:p@@h', 'x amqp://u:***@h'],
    ['x redis://:pa/s?s@h:1', 'x redis://:***@h:1'],
    ['x mongodb://u:p@h1:1,h2:2/d?tls=true', 'x mongodb://u:***@h1:1,h2:2/d?tls=true'],
    ['x --db=jdbc:mysql://h/d?user=u&password=p', 'x --db=jdbc:mysql://h/d?user=u&password=***'],
    [
      'x jdbc:sqlserver://h:1;user=u;password=p;encrypt=true',
      'x jdbc:sqlserver://h:1;user=u;password=***;encrypt=true',
    ],
    ['x jdbc:oracle:thin:scott/tiger@//h:1521/s', 'x jdbc:oracle:thin:scott/***@//h:1521/s'],
    ['curl https://h/?token=t&page=2', 'curl https://h/?token=***&page=2'],
    ['curl https://h/?sv=1&sig=a%2Bb&se=2', 'curl https://h/?sv=1&sig=***&se=2'],
    [
      'curl https://s3/k?X-Amz-Date=1&X-Amz-Signature=ab',
      'curl https://s3/k?X-Amz-Date=1&X-Amz-Signature=***',
    ],
    ['git clone https://oauth2:t@git.example/r.git', 'git clone https://oauth2:***@git.example/r.git'],
    [
      `git clone https://${'a1b2c3d4'.repeat(4)}@git.example/r.git`,
      'git clone https://***@git.example/r.git',
    ],
    [
      ['x', 'DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k/k==;EndpointSuffix=core'],
      ['x', 'DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=core'],
    ],
    [
      ['x', 'Server=h;User Id=u;Password=p;Encrypt=true'],
      ['x', 'Server=h;User Id=u;Password=***;Encrypt=true'],
    ],
    ['x Endpoint=sb://h/;SharedAccessKey=k=', 'x Endpoint=sb://h/;SharedAccessKey=***'],
    ['x h:6379,password=p,ssl=True', 'x h:6379,password=***,ssl=True'],
  ],
  'URLs and connection strings',
);

check(
  [
    [
      ['curl', '-H', 'Authorization: Bearer abcdef123'],
      ['curl', '-H', 'Authorization: Bearer ***'],
    ],
    [
      ['curl', '-H', 'authorization: Basic dTpw'],
      ['curl', '-H', 'authorization: Basic ***'],
    ],
    [
      ['curl', '-H', 'Authorization: raw token here'],
      ['curl', '-H', 'Authorization: ***'],
    ],
    [
      ['curl', '-H', 'X-Api-Key: abc'],
      ['curl', '-H', 'X-Api-Key: ***'],
    ],
    [
      ['curl', '-HCookie: a=b; c=d'],
      ['curl', '-HCookie: ***'],
    ],
    [
      ['curl', '--header=Cookie: a=b; c=d'],
      ['curl', '--header=Cookie: ***'],
    ],
    ['http X-Auth-Token:abc', 'http X-Auth-Token:***'],
    [
      ['say', 'Bearer abcdef123 is mine'],
      ['say', 'Bearer *** is mine'],
    ],
    [
      ['x', '{"user":"u","password":"p\\"q","n":1}'],
      ['x', '{"user":"u","password":"***","n":1}'],
    ],
    [
      ['x', '{"auth": {"token": "t"}}'],
      ['x', '{"auth": {"token": "***"}}'],
    ],
    [
      ['python', '-c', 'environ["TOKEN"]="v"; run(environ["TOKEN"])'],
      ['python', '-c', 'environ["TOKEN"]="***"; run(environ["TOKEN"])'],
    ],
    [
      ['x', '{"command":["app","--password","v","--port","1"]}'],
      ['x', '{"command":["app","--password","***","--port","1"]}'],
    ],
    [
      ['x', '{"tokens": ["a", "b]"], "n": 1}'],
      ['x', '{"tokens": [***], "n": 1}'],
    ],
    [
      ['x', '{"pin":1,"secret":12345}'],
      ['x', '{"pin":1,"secret":***}'],
    ],
    [
      ['x', '{\\"password\\":\\"p\\",\\"a\\":1}'],
      ['x', '{\\"password\\":\\"***\\",\\"a\\":1}'],
    ],
    [
      ['x', '--spring.application.json={"db.password":"p"}'],
      ['x', '--spring.application.json={"db.password":"***"}'],
    ],
    [
      ['x', 'org.apache.Login required username="u" password="p";'],
      ['x', 'org.apache.Login required username="u" password="***";'],
    ],
    [
      ['x', PEM],
      ['x', '***'],
    ],
    [
      ['x', `key is ${PEM} end`],
      ['x', 'key is *** end'],
    ],
    [
      ['x', '-----BEGIN PRIVATE KEY-----\nMIIE cut he'],
      ['x', '***'],
    ],
  ],
  'headers, JSON, key blocks',
);

check(
  [
    [`x ${GITHUB}`, 'x ***'],
    [`x id=${GITHUB},y`, 'x id=***,y'],
    [`x github_pat_${'a1'.repeat(20)}`, 'x ***'],
    [`x AKIA${'ABCD2345'.repeat(2)}`, 'x ***'],
    [`x xoxb-${'1'.repeat(12)}-abc`, 'x ***'],
    [`x sk_live_${'a1'.repeat(12)}`, 'x ***'],
    [`x AIza${'a'.repeat(35)}`, 'x ***'],
    [`x glpat-${'a'.repeat(20)}`, 'x ***'],
    [`x npm_${'a'.repeat(36)}`, 'x ***'],
    [`x ${JWT}`, 'x ***'],
    [`x https://hooks.slack.com/services/${SLACK_PATH}`, 'x https://hooks.slack.com/services/***'],
    [
      `x https://discord.com/api/webhooks/123456/${'a-1'.repeat(10)}`,
      'x https://discord.com/api/webhooks/123456/***',
    ],
    [
      `x https://api.telegram.org/bot12345678:${'aB-'.repeat(11)}/sendMessage`,
      'x https://api.telegram.org/bot12345678:***/sendMessage',
    ],
    [
      `x https://c.webhook.office.com/webhookb2/${'a1@'.repeat(9)}/IncomingWebhook/b`,
      'x https://c.webhook.office.com/webhookb2/***',
    ],
    [`x sk-${'aB1'.repeat(16)} sk-svcacct-${'a_B'.repeat(8)}`, 'x *** ***'],
    [`x xapp-1-A0-${'1'.repeat(12)}-abc`, 'x ***'],
    [`x dckr_pat_${'aB-'.repeat(9)}`, 'x ***'],
    [`x pypi-AgEIcHlwaS5vcmc${'aB_'.repeat(9)}`, 'x ***'],
    [`x glsa_${'aB1'.repeat(10)}_0a1b2c3d glft-${'a'.repeat(20)}`, 'x *** ***'],
    [`x GOCSPX-${'aB-'.repeat(9)} ya29.${'aB-'.repeat(9)}`, 'x *** ***'],
    [`x tskey-auth-${'kB1'.repeat(4)}-${'aB1'.repeat(9)}`, 'x ***'],
    [`x shpat_${'a1'.repeat(16)}`, 'x ***'],
    [`x ATATT3${'xF-='.repeat(20)}`, 'x ***'],
    [`x AGE-SECRET-KEY-1${'QP'.repeat(29)}`, 'x ***'],
  ],
  'tokens that are known by their looks',
);

check(
  [
    ['mysql -uroot -psecret shop', 'mysql -uroot -p*** shop'],
    ['/usr/bin/mysqldump -psecret shop', '/usr/bin/mysqldump -p*** shop'],
    ['docker exec db mariadb-dump -psecret', 'docker exec db mariadb-dump -p***'],
    ['redis-cli -h h -a s ping', 'redis-cli -h h -a *** ping'],
    ['curl -u user:pass http://h/', 'curl -u user:*** http://h/'],
    ['curl -sSuuser:pass http://h/', 'curl -sSuuser:*** http://h/'],
    ['curl --user user:pass --proxy-user a:b', 'curl --user user:*** --proxy-user a:***'],
    ['curl -b sid=abc http://h/', 'curl -b sid=*** http://h/'],
    ['sshpass -p s ssh h', 'sshpass -p *** ssh h'],
    ['sshpass -ps ssh h', 'sshpass -p*** ssh h'],
    ['openssl rsa -passin pass:s -in k', 'openssl rsa -passin pass:*** -in k'],
    ['ldapsearch -D cn=a -w s', 'ldapsearch -D cn=a -w ***'],
    ['smbclient //h/s -U u%p', 'smbclient //h/s -U u%***'],
    ['docker login -u u -p s', 'docker login -u u -p ***'],
    [
      'kubectl create secret generic db --from-literal=url=s --from-literal user=s',
      'kubectl create secret generic db --from-literal=url=*** --from-literal user=***',
    ],
    ['sqlplus scott/tiger@db', 'sqlplus scott/***@db'],
    ['sudo -E mysql -psecret', 'sudo -E mysql -p***'],
  ],
  'options that are secret for one program',
);

check(
  [
    [
      ['sh', '-c', 'mysql -psecret shop; curl -u a:b http://h/'],
      ['sh', '-c', 'mysql -p*** shop; curl -u a:*** http://h/'],
    ],
    [
      ['sh', '-c', 'PGPASSWORD=v psql -h db -U app'],
      ['sh', '-c', 'PGPASSWORD=*** psql -h db -U app'],
    ],
    [
      ['bash', '-lc', 'app --password "two words" --port 1'],
      ['bash', '-lc', 'app --password "***" --port 1'],
    ],
    [
      ['sh', '-c', "mysql -p'two words' shop"],
      ['sh', '-c', "mysql -p'***' shop"],
    ],
    [
      ['sh', '-c', `ssh h "mysql -psecret shop" && echo done`],
      ['sh', '-c', `ssh h "mysql -p*** shop" && echo done`],
    ],
    [
      ['sh', '-c', `curl -d 'a;b' "http://h/?a=1&b=2" -u u:p`],
      ['sh', '-c', `curl -d 'a;b' "http://h/?a=1&b=2" -u u:***`],
    ],
    [
      ['sh', '-c', `curl -H "Authorization: Bearer abcdef12" http://h/`],
      ['sh', '-c', `curl -H "Authorization: Bearer ***" http://h/`],
    ],
    [
      ['sh', '-c', `export API_KEY='x y'; run --api-key=$API_KEY`],
      ['sh', '-c', `export API_KEY='***'; run --api-key=***`],
    ],
    [
      ['sh', '-c', `TOKEN="a"b run`],
      ['sh', '-c', `TOKEN=*** run`],
    ],
  ],
  'a script in one argument',
);

check(
  [
    ['app --dsn=user:pw@tcp(db:3306)/x', 'app --dsn=user:***@tcp(db:3306)/x'],
    ['app user:pw@tcp(db:3306)/x', 'app user:***@tcp(db:3306)/x'],
    ['DSN=user:pw@tcp(db:3306)/x run', 'DSN=user:***@tcp(db:3306)/x run'],
    ['app user:p@ss:mytoken@unix(/run/m.sock)/x', 'app user:***@unix(/run/m.sock)/x'],
    ['app user:pw@/x', 'app user:***@/x'],
    [
      ['x', '{"dsn":"user:pw@tcp(db)/x"}'],
      ['x', '{"dsn":"user:***@tcp(db)/x"}'],
    ],
    ['wrk -u bob:s3cret http://h/', 'wrk -u bob:*** http://h/'],
    ['wrk --user bob:s3cret --user=me@x.org:s', 'wrk --user bob:*** --user=me@x.org:***'],
    ['docker exec c curl -u bob:pw http://h/', 'docker exec c curl -u bob:*** http://h/'],
    ['systemd-run --user mysql -psecret', 'systemd-run --user mysql -p***'],
    [
      ['sh', '-c', 'wrk -u "bob:two words" --user="a:b" h'],
      ['sh', '-c', 'wrk -u "bob:***" --user="a:***" h'],
    ],
    ['ab -A user:pw -P me:pw http://h/', 'ab -A user:*** -P me:*** http://h/'],
    ['/usr/bin/ab -n 5 -Auser:pw http://h/', '/usr/bin/ab -n 5 -Auser:*** http://h/'],
    [
      ['say', 'Basic dTpw is mine'],
      ['say', 'Basic *** is mine'],
    ],
    ['x Authorization: Basic dTpw', 'x Authorization: Basic ***'],
    ['x --authorization Basic dTpw', 'x --authorization Basic ***'],
    ['x HTTP_AUTHORIZATION=Basic%20dTpw', 'x HTTP_AUTHORIZATION=***'],
    [
      ['x', '["Authorization: Basic dTpw"]'],
      ['x', '["Authorization: Basic ***"]'],
    ],
    ['npm publish --otp 123456 --otp=123456', 'npm publish --otp *** --otp=***'],
    ['pkcs11-tool --pin 1234 --so-pin=hunter2', 'pkcs11-tool --pin *** --so-pin=***'],
    [`x SG.${'a1'.repeat(11)}.${'b-2'.repeat(14)}c`, 'x ***'],
    [`x whsec_${'a1B2'.repeat(8)}`, 'x ***'],
    ['htpasswd -nb user pw', 'htpasswd -nb user ***'],
    ['htpasswd -b /etc/h user -pw', 'htpasswd -b /etc/h user ***'],
    [
      'docker run --entrypoint htpasswd registry:2 -Bbn u p',
      'docker run --entrypoint htpasswd registry:2 -Bbn u ***',
    ],
    [
      'docker run --entrypoint=htpasswd registry:2 -Bbn u p',
      'docker run --entrypoint=htpasswd registry:2 -Bbn u ***',
    ],
    [
      ['sh', '-c', `htpasswd -bnBC 10 "" 'two words' | tr -d x`],
      ['sh', '-c', `htpasswd -bnBC 10 "" '***' | tr -d x`],
    ],
    ['rabbitmqctl -n rabbit@h add_user bob pw', 'rabbitmqctl -n rabbit@h add_user bob ***'],
    ['rabbitmqctl change_password --node n bob pw', 'rabbitmqctl change_password --node n bob ***'],
    ['consul agent -encrypt a2V5 -server', 'consul agent -encrypt *** -server'],
    ['consul agent -encrypt=a2V5', 'consul agent -encrypt=***'],
  ],
  'logins, codes and positions',
);

check(
  [
    ['redis-server --masterauth v --port 1', 'redis-server --masterauth *** --port 1'],
    ['redis-cli CONFIG SET masterauth v', 'redis-cli CONFIG SET masterauth ***'],
    ['mosquitto_sub --psk-identity me --psk a1b2', 'mosquitto_sub --psk-identity me --psk ***'],
    ['ldapsearch -xw s -b dc=x', 'ldapsearch -xw *** -b dc=x'],
    ['ldappasswd -xws -s new -a old cn=u', 'ldappasswd -xw*** -s *** -a *** cn=u'],
    ['zip -rP s a.zip a', 'zip -rP *** a.zip a'],
    ['unzip -oPs a.zip', 'unzip -oP*** a.zip'],
    ['rar a -hps a.rar a', 'rar a -hp*** a.rar a'],
    ['unrar x -ps a.rar', 'unrar x -p*** a.rar'],
    ['openssl dgst -sha256 -hmac s f', 'openssl dgst -sha256 -hmac *** f'],
    ['curl --cert c.pem:s -sEd.pem:s h', 'curl --cert c.pem:*** -sEd.pem:*** h'],
    ['mysqladmin -u root -pold password new', 'mysqladmin -u root -p*** password ***'],
    ['usermod -p s u', 'usermod -p *** u'],
    ['twine upload -u u -p s dist', 'twine upload -u u -p *** dist'],
    ['tsql -S h -U u -P s', 'tsql -S h -U u -P ***'],
    ['smbget -U u%p smb://h/f', 'smbget -U u%*** smb://h/f'],
    ['kadmin -p admin/admin -w s', 'kadmin -p admin/admin -w ***'],
    ['sqlldr userid=scott/tiger@db control=c', 'sqlldr userid=scott/***@db control=c'],
    ['ss-server -s h -k s -m aes', 'ss-server -s h -k *** -m aes'],
    ['ttyd -c me:s bash', 'ttyd -c me:*** bash'],
    ['mc alias set m http://h AK s', 'mc alias set m http://h AK ***'],
    ['mc config host add m http://h AK s --api S3v4', 'mc config host add m http://h AK *** --api S3v4'],
    ['xfreerdp /v:h /u:u /p:s /size:800x600', 'xfreerdp /v:h /u:u /p:*** /size:800x600'],
    ['wine a.exe /p:s /password:s /Token:s', 'wine a.exe /p:*** /password:*** /Token:***'],
    ['vault operator unseal -address=http://h k', 'vault operator unseal -address=http://h ***'],
    ['vault login s.abc', 'vault login ***'],
    ['mongod --auth --bind_ip_all --keyFile /k', 'mongod --auth --bind_ip_all --keyFile /k'],
  ],
  'options of more programs',
);

check(
  [
    [
      ['mysql', '-e', "ALTER USER 'u'@'h' IDENTIFIED BY 'it''s'"],
      ['mysql', '-e', "ALTER USER 'u'@'h' IDENTIFIED BY '***'"],
    ],
    [
      ['mysql', '-e', 'CREATE USER u IDENTIFIED WITH caching_sha2_password BY "s"; SELECT 1'],
      ['mysql', '-e', 'CREATE USER u IDENTIFIED WITH caching_sha2_password BY "***"; SELECT 1'],
    ],
    [
      ['mysql', '-e', "SELECT PASSWORD('s')"],
      ['mysql', '-e', "SELECT PASSWORD('***')"],
    ],
    [
      ['psql', '-c', "ALTER ROLE u WITH ENCRYPTED PASSWORD 'it''s' VALID UNTIL 'infinity'"],
      ['psql', '-c', "ALTER ROLE u WITH ENCRYPTED PASSWORD '***' VALID UNTIL 'infinity'"],
    ],
    [
      ['kubectl', 'run', '--overrides={"env":[{"name":"DB_PASSWORD","value":"s"},{"name":"A","value":"b"}]}'],
      [
        'kubectl',
        'run',
        '--overrides={"env":[{"name":"DB_PASSWORD","value":"***"},{"name":"A","value":"b"}]}',
      ],
    ],
    [
      ['x', '- name: DB_PASSWORD\n  value: s\n- name: A\n  value: b'],
      ['x', '- name: DB_PASSWORD\n  value: ***\n- name: A\n  value: b'],
    ],
    [
      ['x', '<add key="password" value="s"/>'],
      ['x', '<add key="password" value="***"/>'],
    ],
    [
      ['curl', '-d', '<login><user>u</user><password>s</password></login>'],
      ['curl', '-d', '<login><user>u</user><password>***</password></login>'],
    ],
    ['x http://h/?next=%2Fa%3Ftoken%3Dt%26page%3D2', 'x http://h/?next=%2Fa%3Ftoken%3D***'],
    [
      ['sh', '-c', 'echo "root:s" | chpasswd && exec sshd -D'],
      ['sh', '-c', 'echo "***" | chpasswd && exec sshd -D'],
    ],
    [
      ['sh', '-c', "printf '%s' s | docker login -u u --password-stdin h; echo done | tee f"],
      ['sh', '-c', "printf '***' *** | docker login -u u --password-stdin h; echo done | tee f"],
    ],
    [
      ['sh', '-c', 'echo s | sudo -S ls | grep x'],
      ['sh', '-c', 'echo *** | sudo -S ls | grep x'],
    ],
  ],
  'SQL, pairs of name and value, what is piped into a login',
);

check(
  [
    ['vault kv put -mount=secret app/db k=s other=t', 'vault kv put -mount=secret app/db k=*** other=***'],
    ['vault kv patch secret/x k=s', 'vault kv patch secret/x k=***'],
    ['bao write auth/x/login role=s', 'bao write auth/x/login role=***'],
    [
      ['sh', '-c', 'vault kv put secret/x k="two words" j=s; env A=b'],
      ['sh', '-c', 'vault kv put secret/x k="***" j=***; env A=b'],
    ],
    ['redis-cli -h h AUTH s', 'redis-cli -h h AUTH ***'],
    ['redis-cli AUTH user s', 'redis-cli AUTH *** ***'],
    ['net ads join -U u%s', 'net ads join -U u%***'],
    ['winexe -U u%s //h cmd', 'winexe -U u%*** //h cmd'],
    ['wbinfo -a u%s', 'wbinfo -a u%***'],
    ['wbinfo --authenticate=u%s', 'wbinfo --authenticate=u%***'],
    ['smbmap -u u -p s -H h', 'smbmap -u u -p *** -H h'],
    ['mount -t cifs -o user=u%s,vers=3 //h/s /m', 'mount -t cifs -o user=u%***,vers=3 //h/s /m'],
    ['nmcli dev wifi connect net password s', 'nmcli dev wifi connect net password ***'],
    ['nmcli con mod x wifi-sec.psk s', 'nmcli con mod x wifi-sec.psk ***'],
    [
      'nmcli con add type wifi 802-11-wireless-security.psk s ssid n',
      'nmcli con add type wifi 802-11-wireless-security.psk *** ssid n',
    ],
    ['nmcli con mod x 802-1x.password s', 'nmcli con mod x 802-1x.password ***'],
    ['wpa_passphrase ssid s', 'wpa_passphrase ssid ***'],
    ['curl -sx u:s@proxy:3128 http://h/', 'curl -sx u:***@proxy:3128 http://h/'],
    [
      'curl --proxy u:s@proxy --socks5=u:s@h http://h/',
      'curl --proxy u:***@proxy --socks5=u:***@h http://h/',
    ],
    ['curl -x http://u:s@proxy http://h/', 'curl -x http://u:***@proxy http://h/'],
    ['hey -n 9 -a u:s http://h/', 'hey -n 9 -a u:*** http://h/'],
    ['python3 /usr/bin/odoo -r u -w s -d d', 'python3 /usr/bin/odoo -r u -w *** -d d'],
    ['qpdf --encrypt user owner 256 -- a b', 'qpdf --encrypt *** *** 256 -- a b'],
    [
      'qpdf --encrypt --user-password=s --bits=256 -- a b',
      'qpdf --encrypt --user-password=*** --bits=256 -- a b',
    ],
    ['pdftk a input_pw s output b owner_pw t', 'pdftk a input_pw *** output b owner_pw ***'],
    ['pdftotext -upw s -opw t a', 'pdftotext -upw *** -opw *** a'],
    ['openssl passwd -6 -salt x s', 'openssl passwd -6 -salt x ***'],
    ['openssl dgst -mac HMAC -macopt hexkey:s', 'openssl dgst -mac HMAC -macopt hexkey:***'],
    ['openssl enc -K s -iv 0', 'openssl enc -K *** -iv 0'],
    ['mysqlsh u:s@h:3306/d', 'mysqlsh u:***@h:3306/d'],
    ['rman target u/s@d', 'rman target u/***@d'],
    ['rclone obscure s', 'rclone obscure ***'],
    ['rclone config create x sftp host h pass s', 'rclone config create x sftp host h pass ***'],
    ['ssh-keygen -p -P old -N new -f k', 'ssh-keygen -p -P *** -N *** -f k'],
    ['ipmitool -H h user set password 2 s', 'ipmitool -H h user set password *** ***'],
    ['virsh secret-set-value 01-23 s', 'virsh secret-set-value 01-23 ***'],
    ['qemu-img info --object secret,id=s0,data=s a', 'qemu-img info --object secret,id=s0,data=*** a'],
    ['cypher-shell -u u -p s', 'cypher-shell -u u -p ***'],
    ['swaks -au u -ap s', 'swaks -au u -ap ***'],
    ['db2 connect to d user u using s', 'db2 connect to d user u using ***'],
    ['snmptrap -v 2c -c s h', 'snmptrap -v 2c -c *** h'],
    ['mosquitto_passwd -b f u s', 'mosquitto_passwd -b f u ***'],
    ['kubeadm init --certificate-key s', 'kubeadm init --certificate-key ***'],
    ['grafana-cli admin reset-admin-password s', 'grafana-cli admin reset-admin-password ***'],
    ['app --privkey s --mnemonic s ENC_KEY=s', 'app --privkey *** --mnemonic *** ENC_KEY=***'],
    [
      ['mongosh', '--eval', 'db.auth("u","s")'],
      ['mongosh', '--eval', 'db.auth("u","***")'],
    ],
    [
      ['mongosh', '--eval', "db.getSiblingDB('a').changeUserPassword('u', 's')"],
      ['mongosh', '--eval', "db.getSiblingDB('a').changeUserPassword('u', '***')"],
    ],
    [
      [...'x -----BEGIN RSA PRIVATE KEY----- MIIE abc= -----END RSA PRIVATE KEY----- next'.split(' ')],
      [...'x *** *** *** *** *** *** *** *** *** *** next'.split(' ')],
    ],
    [
      ['x', '-----BEGIN PRIVATE KEY-----', 'MIIE', 'cut he'],
      ['x', '***', '***', '***'],
    ],
  ],
  'still more programs, calls, a key in several arguments',
);

const UNTOUCHED = [
  'docker run -u app:app img',
  'podman exec --user=app:app c sh',
  'kubectl exec -u app:app pod',
  'wrk -u 1000:1000 --user 33:33 --user=0:0',
  'pip install --user git+https://h/r.git',
  'rsync -u host:/a /b',
  'git push -u git@git.example:r.git main',
  'date -u +%H:%M:%S',
  'systemctl --user start a',
  'python -u app.py',
  'x import(@/a) @scope/pkg(1) user@tcp(db:3306)/x link:../@/x',
  'ls ab -A -P a',
  'x Basic authentication basic usage --auth basic next',
  'board --pin 17 --pin-memory --otp 26.2 --ping 12345 --spin=4567',
  'ipfs add --pin=true a.txt',
  'x msg.handler_of_things.another_long_word whsec_short SG.a.b',
  'htpasswd -v file user',
  'htpasswd -nB user next',
  'rabbitmqctl list_users name state',
  'rabbitmqctl set_user_tags bob administrator',
  'gpg --encrypt file',
  'consul agent -encrypt-verify-incoming=true',
  'java -Xmx2g -XX:+UseG1GC -jar shop.jar --spring.profiles.active=prod',
  'app --password-file /run/p --token-file=/run/t',
  'app --tokenizer bert --keyspace ks --key-type rsa --monkey=1',
  'app author=me keyboard=us tokens-per-second=5',
  'vllm serve --max-tokens 4096 --max_num_batched_tokens=8192',
  'psql -h db -U app shop',
  'psql --password shop',
  'mysql -u root -p shop',
  'mysql --password shop',
  'docker run --name mysql -p3306:3306 img',
  'docker run --user 1000:1000 registry.example/auth:1.2',
  'mongod --auth --port 27017',
  'app --password --verbose',
  'app --no-password next --ask-vault-pass next',
  'nginx --private-key /etc/ssl/private/site.key',
  'app --token=/var/run/secrets/kubernetes.io/serviceaccount/token',
  'app --auth=basic --password=',
  'ffmpeg -pass 1 -i a.mp4',
  'ssh -p 22 host',
  'cp -a /a /b',
  'PWD=/home/u OLDPWD=/ run',
  'git clone https://git.example:8443/@scope/pkg',
  'git clone git@git.example:r.git',
  'x https://user@h/path?page=2',
  'x std::Token::next vault-secret://path token',
  'compass bypass=1 --signal=TERM --authority=ca',
  'kubectl create secret generic db',
  'x 2>&1 -----BEGIN CERTIFICATE-----',
  'x hypnpm_short ghp_short eyJ.a.b AKIASHORT',
  'app --session-timeout=5 --cookie-domain-policy=lax --secret-name=db',
  'SSH_AUTH_SOCK=/tmp/s SSH_ASKPASS=/x GIT_ASKPASS=y run',
  'login -p -- root',
  'train --pad_token [PAD] --eos_token_id 2 --bos-token=<s>',
  'docker run -v /secrets:/secrets -v /password:/password img',
  'dotnet build /p:Configuration=Release',
  'mc admin info m',
  'x sk-learn task-0123456789012345678901234567890123456789 xapp-short',
  'x <password></password> name: DB_PASSWORD valueFrom: x',
  'x identified by name, password for the user',
  'echo done | tee f',
  'java -XX:+UseG1GC -Xmx2g -jar app.jar',
  'postgres: writer process',
  'postgres: app shop 10.0.0.1(1234) idle',
  'nginx: worker process',
  'node --max-old-space-size=4096 server.js',
  'python -m http.server 8000',
  'keytool -list -keystore x',
  'ssh -p 2222 host',
  'docker run -p 80:80 --name vault -e SKIP=1 img',
  'mkdir -p x',
  'grep -p x',
  'tar -xzpf a.tar.gz',
  'app --password-file=/x --token-ttl=1h --key=value --keyfile x',
  'kube-apiserver --tls-private-key-file=/etc/kubernetes/pki/apiserver.key --service-account-key-file=/x/sa.pub',
  'kube-apiserver --secure-port=6443 --authorization-mode=Node,RBAC --enable-bootstrap-token-auth=true',
  'app --pass-through --passthrough=yes',
  'vault kv get -field=value secret/x',
  'vault server -config=/vault/config',
  'redis-cli -h h -p 6379 get key',
  'nmcli con up id home',
  'curl -x http://proxy:3128 http://h:8080/users/@me',
  'curl -x proxy:3128 -X POST http://h/',
  'odoo -d db --workers=4',
  'qpdf --encrypt --bits=256 -- a b',
  'mongosh --eval db.getCollection("auth").find("a","b")',
  'python -c tokens.replace("a","b")',
  'beeline -u jdbc:hive2://h:10000/d -n hive',
  'mount -t cifs -o user=u,vers=3 //h/s /m',
  'qemu-system-x86_64 -object memory-backend-ram,id=m,size=2G -m 2048',
  'rclone mount remote:a /m --vfs-cache-mode full',
  'sqlplus /nolog',
  'rman target /',
  'net ads info -U user',
  'ssh-keygen -l -f key.pub',
  'openssl req -x509 -newkey rsa:2048 -keyout key.pem -nodes',
  'gcloud auth login --access-token-file f',
  'db2sysc 0 using x',
  'say vault redis-cli',
];
check(
  UNTOUCHED.map((line) => [line, line] as const),
  'what looks like a secret and is none',
);

describe('own patterns', () => {
  test('the group called secret, else the first group, else the whole match', () => {
    const own = new Redactor([/licen[cs]e (?<secret>\S+)/, /pin=(\d+)/g, /ACME-\d+/i]);
    assert.deepEqual(own.args(['x', 'licence', 'abc', 'pin=12', 'acme-77', 'pin=34']), {
      args: ['x', 'licence', '***', 'pin=***', '***', 'pin=***'],
      count: 4,
    });
  });

  test('a match over several arguments is masked in each of them', () => {
    const own = new Redactor([/two words/]);
    assert.deepEqual(own.args(['a two', 'words b']).args, ['a ***', '*** b']);
  });

  test('built-in rules go on beside them, and a second time changes nothing', () => {
    const own = new Redactor([/\d{4}/]);
    const once = own.text('pin 1234 password=x');
    assert.deepEqual(once, { text: 'pin *** password=***', count: 2 });
    assert.deepEqual(own.text(once.text), { text: once.text, count: 0 });
  });
});

test('a text (a log line, a script) obeys the same rules', () => {
  assert.deepEqual(
    redactor.text('started app --password hunter2 --token=t; ok').text,
    'started app --password *** --token=***; ok',
  );
  assert.deepEqual(redactor.text('nothing here'), { text: 'nothing here', count: 0 });

  test('a short word is no secret by itself: what is taken for one only says so of a longer text', () => {
    const random = generator(7);
    const words =
      'pass pw token key basic identified sudo mysql AKIA ghp_ eyJ SG. glpat AIza npm_ hvs.'.split(' ');
    for (let round = 0; round < 5_000; round++) {
      const rest = random().toString(36) + random().toString(36).toUpperCase();
      const word = `${words[round % words.length]}${rest}`.slice(0, 1 + (random() % 12));
      // The blank makes it a text that is looked at.
      assert.equal(redactor.text(`${word} `).count, 0, word);
    }
  });
});

describe('hostile input', () => {
  test('redacting twice changes nothing, for 20,000 random command lines', () => {
    const random = generator(1);
    for (let i = 0; i < 20_000; i++) {
      const args = Array.from({ length: 1 + (random() % 3) }, () =>
        Array.from({ length: random() % 9 }, () => PIECES[random() % PIECES.length]).join(''),
      );
      const once = redactor.args(args).args;
      assert.deepEqual(redactor.args(once), { args: once, count: 0 }, JSON.stringify(args));
      const text = redactor.text(args.join(' ')).text;
      assert.deepEqual(redactor.text(text), { text, count: 0 }, JSON.stringify(args));
    }
  });

  test('after the 500th secret all is one', () => {
    const secrets = 'token=a '.repeat(500);
    const masked = 'token=*** '.repeat(500);
    assert.deepEqual(redactor.text(`${secrets}and more`), { text: masked.trimEnd(), count: 500 });
    const args = secrets.trimEnd().split(' ');
    const expected = [...masked.trimEnd().split(' '), '***', '***'];
    assert.deepEqual(redactor.args([...args, 'and', 'more']), { args: expected, count: 502 });
    assert.deepEqual(redactor.args(expected), { args: expected, count: 0 });
  });

  /** A linear step costs 8 times as much at 8 times the length, a quadratic one 64 times. */
  for (const piece of ADVERSARIES) {
    test(`time is linear in repetitions of ${JSON.stringify(piece)}`, () => {
      const [small = '', large = ''] = [16_384, 131_072].map((length) =>
        piece.repeat(Math.ceil(length / piece.length)),
      );
      let short = Number.POSITIVE_INFINITY;
      let long = Number.POSITIVE_INFINITY;
      let spent = 0;
      do {
        const [forSmall, forLarge] = [cpuTime(small), cpuTime(large)];
        short = Math.min(short, forSmall);
        long = Math.min(long, forLarge);
        spent += forSmall + forLarge;
      } while (long > 24 * short && spent < ENOUGH_MS);
      assert.ok(long <= 24 * short, `${short.toFixed(2)} ms, 8 times as long ${long.toFixed(2)} ms`);
    });
  }

  /**
   * What else happens (a collection of garbage, another thread of the core) only ever adds to a time, so the least of several is the
   * program's own; and no number of them makes a quadratic step linear.
   */
  const ENOUGH_MS = 1000;
  const clock = threadCpuClock();

  function cpuTime(text: string): number {
    const before = clock();
    redactor.args(['x', text]);
    redactor.text(`${text} ${text}`);
    return clock() - before;
  }
});

/** Park and Miller's generator: the same numbers on every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state;
  };
}
