#!/bin/sh
# Lets schemathesis send a running job what its OpenAPI document allows, and what it does not: no answer may be a server error, or one that
# is not documented.
#
#   crates/tidegate-serve/tests/schemathesis.sh target/release/tidegate [BROKERS TOPIC]
#
# Needs `pip install schemathesis` (4). With a Kafka it takes events in, too.
#
# What a record has to have is the job's own schema and rules, of which OpenAPI knows nothing: so one that the document allows can be
# rejected (positive_data_acceptance).
set -eu

tidegate=$(realpath "$1")
example=$(realpath "$(dirname "$0")/../../../examples/transactions.toml")
folder=$(mktemp -d)
TOKEN=schemathesis-0123456789abcdef
export TOKEN
cd "$folder"
set -- "${2:-}" "${3:-}"
source='--set source.kind=generator --set source.rate=1000'
if [ -n "$1" ]; then
  source="--set source.brokers=\"$1\" --set source.topic=\"$2\" --set http.ingest.key=customer_id --set http.ingest.rate=1000000"
fi
# shellcheck disable=SC2086 # several arguments
"$tidegate" run -c "$example" $source --progress none \
  --set http.listen=127.0.0.1:0 \
  --set 'http.tokens=[{name="schemathesis",roles=["admin"],token="${TOKEN}"}]' 2>log &
job=$!
trap 'kill $job; wait $job || true; rm -rf "$folder"' EXIT
until grep -q address= log 2>/dev/null; do sleep 0.1; kill -0 $job || { cat log; exit 1; }; done
address=$(sed -n 's/.*address=\([0-9.:]*\).*/\1/p' log | head -1)

schemathesis run "http://$address/openapi.json" --checks all --exclude-checks positive_data_acceptance --max-examples 200 --seed 1 \
  --header "Authorization: Bearer $TOKEN"
kill -0 $job
