/*
 * event_teller KUBECONFIG EVENTS_ADDR: tells what standard input says, for test/e2e/test_events.py.
 * Each line is a JSON object, told and flushed before the next one is read:
 *
 *     {"about": {…}, "warning": BOOL, "reason", "action", "note"}                     an Event
 *     {"about": {…}, "error": BOOL, "reason", "message", "revision", "annotations"}   a
 * notification
 *
 * It ends when its input does: exit 0 where nothing was left on the loop.
 */
#include "kube_loop.h"

#include "base/json.h"
#include "kube/events.h"
#include "kube/notification.h"

#define PATIENCE_MS 20000
#define CONTROLLER "externalsource-controller"

static void on_flushed(void *context)
{
    *(bool *)context = true;
}

static struct kube_reference reference_of(const json_t *line)
{
    const json_t *about = json_object_get(line, "about");

    return (struct kube_reference){
        json_get_string(about, "apiVersion"), json_get_string(about, "kind"),
        json_get_string(about, "namespace"),  json_get_string(about, "name"),
        json_get_string(about, "uid"),
    };
}

static void tell_event(struct events *events, const json_t *line, bool *flushed)
{
    const struct event event = {
        .about = reference_of(line),
        .warning = json_get_boolean(line, "warning", false),
        .reason = json_get_string(line, "reason"),
        .action = json_get_string(line, "action"),
        .note = json_get_string(line, "note"),
    };

    events_tell(events, &event);
    events_flush(events, PATIENCE_MS, on_flushed, flushed);
}

static void tell_notification(struct notifier *notifier, const json_t *line, bool *flushed)
{
    const struct notification notification = {
        .about = reference_of(line),
        .error = json_get_boolean(line, "error", false),
        .reason = json_get_string(line, "reason"),
        .message = json_get_string(line, "message"),
        .revision = json_get_string(line, "revision"),
        .annotations = json_object_get(line, "annotations"),
    };

    notifier_tell(notifier, &notification);
    notifier_flush(notifier, PATIENCE_MS, on_flushed, flushed);
}

static int tell_all(struct kube_loop *kube, struct events *events, struct notifier *notifier)
{
    char text[16384];

    while (fgets(text, sizeof(text), stdin)) {
        _cleanup_(json) json_t *line = json_loads(text, 0, NULL);
        bool flushed = false;

        if (!line)
            return 2;
        if (json_object_get(line, "note"))
            tell_event(events, line, &flushed);
        else
            tell_notification(notifier, line, &flushed);
        while (!flushed)
            uv_run(&kube->loop, UV_RUN_ONCE);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct kube_loop kube = {0};
    struct notifier *notifier = NULL;
    struct error *error;
    int failed;

    if (argc != 3)
        return 2;
    kube_loop_open(&kube, argv[1]);
    const struct events_options options = {
        .loop = &kube.loop,
        .clock = &clock_system,
        .log = kube.log,
        .client = kube.client,
        .controller = "source.flux.oddkin.co/" CONTROLLER,
        .instance = "test",
    };
    struct events *events = events_new(&options);
    const struct notifier_options notifier_options = {
        .loop = &kube.loop,
        .blobs = kube.blobs,
        .clock = &clock_system,
        .log = kube.log,
        .address = argv[2],
        .controller = CONTROLLER,
        .instance = "test",
    };
    error = notifier_new(&notifier_options, &notifier);
    if (!events || error)
        return 1;
    failed = tell_all(&kube, events, notifier);
    events_free(events);
    notifier_free(notifier);
    return kube_loop_close(&kube) == 0 ? failed : 3;
}
