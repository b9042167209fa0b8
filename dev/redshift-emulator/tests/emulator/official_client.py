"""boto3 against the emulator at sys.argv[1]; every line that does not hold ends it."""

import sys
import time

import boto3
from botocore.config import Config

client = boto3.client(
    "redshift-data",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="AKIDEXAMPLE",
    aws_secret_access_key="secret",
    config=Config(retries={"max_attempts": 0}),
)
TARGET = {"WorkgroupName": "test", "Database": "dev"}


def ended(statement_id):
    for _ in range(1000):
        described = client.describe_statement(Id=statement_id)
        if described["Status"] in ("FINISHED", "FAILED", "ABORTED"):
            return described
        time.sleep(0.01)
    raise AssertionError("it does not end")


# execute-statement, with parameters
answer = client.execute_statement(Sql="CREATE TABLE t (n INTEGER, s VARCHAR(20))", **TARGET)
assert answer["WorkgroupName"] == "test" and answer["CreatedAt"].year > 2000, answer
assert ended(answer["Id"])["Status"] == "FINISHED"
answer = client.execute_statement(
    Sql="INSERT INTO t VALUES (:n, :s)",
    Parameters=[{"name": "n", "value": "1"}, {"name": "s", "value": "it's"}],
    **TARGET,
)
described = ended(answer["Id"])
assert (described["Status"], described["ResultRows"], described["HasResultSet"]) == ("FINISHED", 1, False), described

# batch-execute-statement
digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4)"
answer = client.batch_execute_statement(
    Sqls=[
        "DELETE FROM t",
        f"INSERT INTO t SELECT a.d * 125 + b.d * 25 + c.d * 5 + e.d, 'x' FROM {digits} a, {digits} b, {digits} c, {digits} e",
        "SELECT n, s FROM t ORDER BY n",
    ],
    StatementName="batch-1",
    **TARGET,
)
described = ended(answer["Id"])
assert described["Status"] == "FINISHED", described
assert [part["ResultRows"] for part in described["SubStatements"]] == [1, 625, 625], described

# get-statement-result, with the client's own paginator
pages = list(client.get_paginator("get_statement_result").paginate(Id=described["SubStatements"][2]["Id"]))
records = [record for page in pages for record in page["Records"]]
assert len(pages) == 7 and [record[0]["longValue"] for record in records] == list(range(625)), len(pages)
assert [column["typeName"] for column in pages[0]["ColumnMetadata"]] == ["int4", "varchar"]

# a failure, and its words
described = ended(client.execute_statement(Sql="SELECT * FROM nowhere", **TARGET)["Id"])
assert described["Status"] == "FAILED" and described["Error"] == 'ERROR: relation "nowhere" does not exist', described

# cancel
answer = client.execute_statement(Sql="SELECT redshift_emulator.sleep(60)", **TARGET)
assert client.cancel_statement(Id=answer["Id"])["Status"] is True
assert ended(answer["Id"])["Status"] == "ABORTED"

# list
listed = client.list_statements(StatementName="batch", Status="ALL")["Statements"]
assert len(listed) == 1 and listed[0]["IsBatchStatement"] and len(listed[0]["QueryStrings"]) == 3, listed
assert [table["name"] for table in client.list_tables(**TARGET)["Tables"]] == ["t"]

# errors are the client's own exceptions
try:
    client.execute_statement(Sql="SELECT 1; SELECT 2", **TARGET)
    raise AssertionError("not refused")
except client.exceptions.ValidationException as error:
    assert "Multiple" in str(error), error
try:
    client.describe_statement(Id="00000000-0000-0000-0000-000000000000")
    raise AssertionError("not refused")
except client.exceptions.ResourceNotFoundException:
    pass
