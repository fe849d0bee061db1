/* Networks, and the floor below every egress policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ifaddrs.h>
#include <string.h>
#include <uv.h>

#include "http/egress.h"

static struct sockaddr_storage address_of(const char *text, int port)
{
    struct sockaddr_storage address = {0};

    if (uv_ip4_addr(text, port, (struct sockaddr_in *)&address) != 0)
        assert_int_equal(uv_ip6_addr(text, port, (struct sockaddr_in6 *)&address), 0);
    return address;
}

static const struct {
    const char *network;
    const char *address;
    bool contains;
} containments[] = {
    {"10.0.0.0/8", "10.255.0.1", true},
    {"10.0.0.0/8", "11.0.0.1", false},
    {"10.1.2.3/8", "10.9.9.9", true},
    {"10.0.0.0/8", "::ffff:10.0.0.1", true},
    {"172.16.0.0/12", "172.31.255.255", true},
    {"172.16.0.0/12", "172.32.0.0", false},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.1/32", "192.0.2.1", true},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "203.0.113.9", false},
    {"fe80::/10", "febf::1", true},
    {"fe80::/10", "fec0::1", false},
    {"::1", "::1", true},
    {"::1/128", "::2", false},
    {"::ffff:10.0.0.0/104", "10.1.1.1", true},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
};

static void a_network_contains_its_addresses_in_every_notation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(containments) / sizeof(containments[0]); i++) {
        struct sockaddr_storage address = address_of(containments[i].address, 80);
        struct network network;

        assert_true(network_parse(containments[i].network, &network));
        if (network_contains(&network, (struct sockaddr *)&address) != containments[i].contains)
            fail_msg("%s and %s", containments[i].network, containments[i].address);
    }
}

static void what_is_no_network_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "10.0.0.0/08",
                                        "10.0.0.0/ 8",
                                        "10.0.0/8",
                                        "::/129",
                                        "::1%lo",
                                        "example.com",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/8/8",
                                        "[::1]",
                                        "0177.0.0.1",
                                        "10.0.0.0/999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct network network;

        if (network_parse(texts[i], &network))
            fail_msg("'%s' was taken for a network", texts[i]);
    }
}

static void a_network_is_written_as_people_write_it(void **state)
{
    static const char *const texts[][2] = {{"10.0.0.0/8", "10.0.0.0/8"},
                                           {"192.0.2.1", "192.0.2.1/32"},
                                           {"FE80::/10", "fe80::/10"},
                                           {"::1", "::1/128"}};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct network network;
        char text[NETWORK_TEXT_SIZE];

        assert_true(network_parse(texts[i][0], &network));
        network_format(&network, text);
        assert_string_equal(text, texts[i][1]);
    }
}

static const struct {
    const char *address;
    int port;
    const char *fault;
} floor_cases[] = {
    {"203.0.113.9", 80, NULL},
    {"127.0.0.1", 80, NULL}, /* for a policy to decide */
    {"10.0.0.1", 80, NULL},
    {"2001:db8::1", 443, NULL},
    {"169.254.169.254", 80, "is a link-local address"},
    {"169.254.0.1", 80, "is a link-local address"},
    {"::ffff:169.254.169.254", 80, "is a link-local address"},
    {"64:ff9b::a9fe:a9fe", 80, "is a link-local address"},
    {"fe80::1", 80, "is a link-local address"},
    {"fd00:ec2::254", 80, "is a cloud metadata address"},
    {"100.100.100.200", 80, "is a cloud metadata address"},
    {"168.63.129.16", 80, "is a cloud metadata address"},
    {"0.0.0.0", 80, "is an unspecified address"},
    {"::", 80, "is an unspecified address"},
    {"127.0.0.1", 8080, "is a listener of this program"},
    {"::ffff:127.0.0.1", 8080, "is a listener of this program"},
    {"127.0.0.2", 8080, NULL},
    {"::1", 8080, NULL},
    {"::1", 8081, "is a listener of this program"},
    {"127.0.0.1", 9440, "is a listener of this program"},
    {"127.9.9.9", 9440, "is a listener of this program"},
    {"203.0.113.9", 9440, NULL},
};

static void the_floor_names_why_an_address_is_out_of_reach(void **state)
{
    struct egress_floor *floor = egress_floor_new();

    (void)state;
    assert_null(egress_floor_add_listener(floor, "127.0.0.1:8080"));
    assert_null(egress_floor_add_listener(floor, "[::1]:8081"));
    assert_null(egress_floor_add_listener(floor, ":9440"));
    for (size_t i = 0; i < sizeof(floor_cases) / sizeof(floor_cases[0]); i++) {
        struct sockaddr_storage address = address_of(floor_cases[i].address, floor_cases[i].port);
        const char *fault = egress_floor_fault(floor, (struct sockaddr *)&address);

        if ((fault == NULL) != (floor_cases[i].fault == NULL) ||
            (fault && strcmp(fault, floor_cases[i].fault) != 0))
            fail_msg("%s port %d: %s", floor_cases[i].address, floor_cases[i].port,
                     fault ? fault : "nothing");
    }
    egress_floor_free(floor);
}

static void a_wildcard_listener_covers_every_address_of_the_machine(void **state)
{
    struct egress_floor *floor = egress_floor_new();
    struct ifaddrs *interfaces = NULL;

    (void)state;
    assert_null(egress_floor_add_listener(floor, "0.0.0.0:9441"));
    assert_int_equal(getifaddrs(&interfaces), 0);
    for (struct ifaddrs *at = interfaces; at; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET)
            continue;
        ((struct sockaddr_in *)at->ifa_addr)->sin_port = htons(9441);
        assert_non_null(egress_floor_fault(floor, at->ifa_addr));
        ((struct sockaddr_in *)at->ifa_addr)->sin_port = htons(9442);
        assert_null(egress_floor_fault(floor, at->ifa_addr));
    }
    freeifaddrs(interfaces);
    egress_floor_free(floor);
}

static void a_unix_address_is_out_of_reach(void **state)
{
    struct egress_floor *floor = egress_floor_new();
    struct sockaddr address = {.sa_family = AF_UNIX};

    (void)state;
    assert_string_equal(egress_floor_fault(floor, &address), "is not an internet address");
    egress_floor_free(floor);
}

static void a_listener_that_is_no_address_and_port_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "127.0.0.1:0",
                                        "localhost:80",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:80x",
                                        "10.0.0.0/8:80"};
    struct egress_floor *floor = egress_floor_new();

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct error *error = egress_floor_add_listener(floor, texts[i]);

        if (!error)
            fail_msg("'%s' was taken for a listener", texts[i]);
        assert_string_equal(error->reason, "InvalidAddress");
        assert_non_null(strstr(error->message, "is not ADDRESS:PORT with a numeric address"));
        error_free(error);
    }
    egress_floor_free(floor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_contains_its_addresses_in_every_notation),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(a_network_is_written_as_people_write_it),
        cmocka_unit_test(the_floor_names_why_an_address_is_out_of_reach),
        cmocka_unit_test(a_wildcard_listener_covers_every_address_of_the_machine),
        cmocka_unit_test(a_unix_address_is_out_of_reach),
        cmocka_unit_test(a_listener_that_is_no_address_and_port_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
