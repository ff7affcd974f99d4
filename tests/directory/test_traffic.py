"""What is counted of requests: as the gateway and the token endpoint count them, and as it is read."""

from datetime import UTC, datetime, timedelta

from shared.directory.traffic import client_subject, hospital_subject
from shared.directory.traffic_history import SubjectDay, TrafficHistory
from shared.error_kind import ErrorKind
from shared.stores.tables import TRAFFIC
from tests.deployment import Deployment
from tests.gateway.conftest import Hospital, served


async def day_of(deployment: Deployment, subject: str) -> SubjectDay:
    await deployment.application.traffic.flush()
    return (await TrafficHistory(deployment.table(TRAFFIC)).digest()).subjects[subject]


async def test_a_hospital_that_fails_is_known_with_since_when_and_why(deployment: Deployment) -> None:
    async with served(Hospital(deployment)) as hospital:
        tenant, client = await deployment.tenant(hospital.base_url), await deployment.client()
        token = await deployment.token(tenant, client=client)
        await deployment.send("GET", "/stu3/Patient/1", token)
        before = datetime.now(UTC).replace(microsecond=0)
        hospital.answers("<html>", 500)
        for _ in range(2):
            await deployment.send("GET", "/stu3/Patient/1", token)
        subject = hospital_subject(tenant, "stu3")
        day = await day_of(deployment, subject)
        assert (day.figures.requests, day.figures.failures) == (3, {ErrorKind.SERVER_ERROR: 2})
        assert day.failing_since is not None
        assert day.last_failure is not None
        assert day.kind is ErrorKind.SERVER_ERROR
        assert before <= day.failing_since <= day.last_failure
        assert 0 < (day.figures.percentile("upstream", 0.95) or 0) < 10_000
        assert (await day_of(deployment, client_subject(client.client_id))).failing_since is None
        now = datetime.now(UTC)
        history = TrafficHistory(deployment.table(TRAFFIC))
        slots = await history.series(subject, now - timedelta(hours=1), now, timedelta(minutes=5))
        assert sum(slot.figures.requests for slot in slots) == 3
