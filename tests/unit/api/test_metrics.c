/* GET /metrics, and how the ends of requests are counted. */
#include "fixture.h"

#include <criterion/criterion.h>
#include <string.h>

static const char stream[] = "{\"prompt\":\"ab\",\"stream\":true}";
static const char stops[] = "{\"prompt\":\"ab\",\"stop\":\"x\"}";

static struct hd_request *begin(struct fixture *f, struct client *c, const char *body)
{
    unsigned i = f->n_requests;
    client_open(f, c);
    client_post(c, "/v1/completions", body);
    return fake_request(f, i);
}

/* So many requests ended, this one among them once. */
static void check(const struct fixture *f, enum hd_outcome how, uint64_t all)
{
    cr_assert_eq(f->serving.outcomes[how], 1, "%s: %llu", hd_outcome_name(how),
                 (unsigned long long)f->serving.outcomes[how]);
    cr_assert_eq(hd_histogram_count(&f->serving.request), all);
}

Test(metrics, is_text)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    exchange(&f, &c, "/metrics", NULL);
    cr_assert_eq(client_status(&c), 200);
    cr_assert_not_null(strstr(c.in, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    cr_assert_not_null(strstr(c.in, "\r\n\r\ntoy_up 1\n"));
    client_close(&c);
    fixture_close(&f);
}

Test(metrics, without_memory)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.no_metrics = true;
    exchange(&f, &c, "/metrics", NULL);
    cr_assert_eq(client_status(&c), 500);
    cr_assert_not_null(strstr(c.in, "Content-Type: application/json\r\n"));
    client_close(&c);
    exchange(&f, &c, "/metrics", "{}");
    cr_assert_eq(client_status(&c), 405);
    client_close(&c);
    fixture_close(&f);
}

Test(metrics, how_answers_end)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    fake_end(begin(&f, &c, stream), HD_FINISH_LENGTH);
    client_until_eof(&f, &c);
    client_close(&c);
    check(&f, HD_OUTCOME_LENGTH, 1);
    fake_end(begin(&f, &c, stream), HD_FINISH_ERROR);
    client_until_eof(&f, &c);
    client_close(&c);
    check(&f, HD_OUTCOME_ERROR, 2);
    fake_end(begin(&f, &c, stream), HD_FINISH_STOP);
    client_until_eof(&f, &c);
    client_close(&c);
    check(&f, HD_OUTCOME_STOP, 3);
    fixture_close(&f);
}

/* The backend's request is cancelled, but the client got all that it asked for. */
Test(metrics, a_stop_string_is_no_abort)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, stops);
    fake_text(r, "ax");
    client_until_eof(&f, &c);
    fake_until_cancelled(&f, r);
    client_close(&c);
    check(&f, HD_OUTCOME_STOP, 1);
    fixture_close(&f);
}

Test(metrics, a_client_that_goes)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    struct hd_request *r = begin(&f, &c, stream);
    fake_token(r, 'x');
    client_until(&f, &c, "\"x\"");
    client_close(&c);
    fake_until_cancelled(&f, r);
    check(&f, HD_OUTCOME_ABORT, 1);
    fixture_close(&f);
    check(&f, HD_OUTCOME_ABORT, 1);
}

Test(metrics, what_is_refused_is_not_counted)
{
    struct fixture f;
    struct client c;
    fixture_open(&f, NULL);
    f.submit_rc = HD_E_LIMIT;
    exchange(&f, &c, "/v1/completions", stream);
    cr_assert_eq(client_status(&c), 429);
    client_close(&c);
    cr_assert_eq(hd_histogram_count(&f.serving.request), 0);
    fixture_close(&f);
}
