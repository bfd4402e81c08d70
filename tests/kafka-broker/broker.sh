#!/usr/bin/env bash
# Starts and stops one real Apache Kafka broker for tests: a single node, KRaft, on this machine's Java.
#
#   broker.sh start [port]   prints host:port of a broker that is ready; a running one is reused
#   broker.sh tls            prints host:port of its listener with TLS and passwords, and its authority's certificate:
#                            what PEJL_TEST_KAFKA_TLS wants. SCRAM-SHA-256, user pejl, password pejltest-secret
#   broker.sh stop           stops it and removes its data
#   broker.sh kill           kill -9, and its data stays
#   broker.sh restart        starts it again on that data and the same port
#
# PEJL_BROKER=name makes it another broker than the one without a name.
#
# Exit code 3: Java, Maven or the network is missing, and standard error says which.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pejl/kafka
jars=$cache/jars
run=$cache/run${PEJL_BROKER:+-$PEJL_BROKER}
start_seconds=90
name=broker.sh

# shellcheck source=../setup/server.sh
source "$here/../setup/server.sh"

check_java() {
    command -v java > /dev/null || missing "Java is missing; Kafka needs 17 or newer"
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ] || missing "this Java is version ${version:-unknown}; Kafka needs 17 or newer"
}

# Copies the server and its dependencies out of Maven Central, once per version of pom.xml.
fetch() {
    local stamp
    stamp=$(cksum < "$here/pom.xml")
    if [ "$(cat "$jars/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    command -v mvn > /dev/null || missing "Maven (mvn) is missing; it is needed once, to fetch Kafka"
    say "fetching Kafka from Maven Central (about 45 MB, once)"
    local fetched
    fetched=$(mktemp -d "$cache/jars.XXXXXX")
    if ! mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$fetched" > "$cache/maven.txt" 2>&1; then
        rm -rf "$fetched"
        { grep -m 1 ERROR "$cache/maven.txt" || true; } >&2
        missing "Kafka could not be fetched from Maven Central; see $cache/maven.txt"
    fi
    echo "$stamp" > "$fetched/.stamp"
    rm -rf "$jars"
    mv "$fetched" "$jars"
}

# An authority's key and certificate: NAME.key and NAME.pem.
authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$1 of a test" \
        -keyout "$run/$1.key" -out "$run/$1.pem"
}

# What the listener with TLS shows, one authority that signed it, and one that did not.
certificates() {
    command -v openssl > /dev/null || missing "openssl is missing; it makes the certificates of the listener with TLS"
    {
        authority ca
        authority other-ca
        openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 \
            -keyout "$run/server.key" -out "$run/server.csr"
        openssl x509 -req -in "$run/server.csr" -CA "$run/ca.pem" -CAkey "$run/ca.key" -CAcreateserial \
            -days 3650 -extfile <(echo subjectAltName=IP:127.0.0.1) -out "$run/server.crt"
    } > "$run/openssl.txt" 2>&1
    cat "$run/server.key" "$run/server.crt" > "$run/server.pem"
}

alive() { alive_as "kafka.Kafka $run/"; }

properties() {
    local port=$1 controller=$2 tls=$3
    cat << EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$tls,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://127.0.0.1:$tls
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$run/server.pem
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
controller.listener.names=CONTROLLER
log.dirs=$run/data
num.io.threads=4
num.network.threads=2
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
EOF
}

start() {
    if alive; then
        cat "$run/address"
        return
    fi
    check_java
    fetch
    rm -rf "$run"
    mkdir -p "$run"
    local port=${1:-$(free_port)}
    if listens "$port"; then
        say "port $port is taken"
        exit 1
    fi
    certificates
    local tls
    tls=$(free_port)
    properties "$port" "$(free_port)" "$tls" > "$run/server.properties"
    echo "127.0.0.1:$tls $run/ca.pem" > "$run/tls"
    # The cluster id is 16 bytes in base64.
    if ! java -cp "$jars/*" kafka.tools.StorageTool format \
        --cluster-id cGVqbC10ZXN0LWthZmthMQ --config "$run/server.properties" \
        --add-scram 'SCRAM-SHA-256=[name=pejl,password=pejltest-secret]' > "$run/format.txt" 2>&1; then
        cat "$run/format.txt" >&2
        exit 1
    fi
    launch "$port"
    echo "127.0.0.1:$port" | tee "$run/address"
}

# Runs the broker on its data, and waits until it is ready.
launch() {
    local port=$1
    : > "$run/server.txt"
    # None of our pipes and locks: whoever waits for this script must not wait for the broker.
    nohup java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info \
        -cp "$jars/*" kafka.Kafka "$run/server.properties" \
        > "$run/server.txt" 2>&1 < /dev/null 9>&- &
    echo $! > "$run/pid"
    local deadline=$((SECONDS + start_seconds))
    until grep -qs "Kafka Server started" "$run/server.txt" && listens "$port"; do
        if ! alive && ! kill -0 "$(cat "$run/pid")" 2> /dev/null; then
            tail -n 20 "$run/server.txt" >&2
            say "Kafka ended while starting; its log is $run/server.txt"
            exit 1
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$run/server.txt" >&2
            stop
            say "Kafka was not ready within $start_seconds s"
            exit 1
        fi
        sleep 0.2
    done
}

restart() {
    local address
    if ! address=$(cat "$run/address" 2> /dev/null); then
        say "there is no broker to start again"
        exit 1
    fi
    alive || launch "${address##*:}"
    echo "$address"
}

tls() {
    alive && cat "$run/tls" && return
    say "no broker with TLS runs; start one"
    exit 1
}

take_turns

case "${1:-}" in
    start) start "${2:-}" ;;
    tls) tls ;;
    stop) stop ;;
    kill) end ;;
    restart) restart ;;
    *)
        say "use: broker.sh start [port] | tls | stop | kill | restart"
        exit 2
        ;;
esac
