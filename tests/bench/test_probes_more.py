"""Probes of waits, signals, asynchronous I/O and listeners: what they tell that holds on every Linux.

Each is run once; what a host cannot run is skipped with the probe's own reason. Nothing here depends on speed.
"""

import functools

import test_probes

facts = functools.cache(test_probes.facts_of)


def test_what_is_level_triggered_is_told_until_nothing_is_left() -> None:
    assert facts("level_again") == {way: [0, 1, 1, 1, 1, 0] for way in ("select", "poll")}


def test_select_counts_bits_and_poll_counts_descriptors() -> None:
    told = facts("return_counts")
    assert told["four_of_ten"] == {"select": 4, "poll": 4}
    assert told["one_readable_and_writable"] == {"select": 2, "poll": 1, "poll_told_both": True}
    assert told["four_ready_one_not_open"] == {"select": -1, "select_error": "EBADF", "poll": 5}


def test_select_answers_in_the_memory_of_the_question() -> None:
    told = facts("select_sets")
    assert not told["three_sets"]["idle_read"] and told["three_sets"]["returned"] == 3
    assert told["set_not_made_anew"] == {"ready": 1, "returned": 0}
    assert told["timeout"]["rewritten"] and 0 < told["timeout"]["left_us"] < 200_000


def test_a_standard_signal_is_one_and_a_queue_is_bounded() -> None:
    told = facts("sigio_signals")
    assert (told["standard"]["standard"], told["standard"]["realtime"]) == (1, 0)
    assert (told["realtime"]["standard"], told["realtime"]["realtime"]) == (0, 1000)
    assert told["full_queue"]["standard"] == 1 and told["full_queue"]["realtime"] <= 64


def test_poll_tells_seven_conditions_and_select_three_classes() -> None:
    told = facts("event_classes")
    assert (told["poll"]["conditions"], told["poll"]["can_be_asked_for"], told["select"]["classes"]) == (7, 4, 3)
    assert told["select"]["exceptional"] == ["POLLPRI"]


def test_urgent_data_and_packet_mode_are_exceptional_and_plain_data_is_not() -> None:
    urgent, packet = facts("out_of_band"), facts("packet_mode")
    assert all(urgent["urgent_data"].values())
    assert [urgent["plain_data"][who] for who in ("sigurg", "select_exceptional", "poll_pri")] == [False] * 3
    assert all(packet["after_a_flush"].values()) and not any(packet["without_packet_mode"].values())


def test_a_copy_keeps_a_closed_descriptor_in_epoll() -> None:
    told = facts("closed_dup")
    assert not told["no_copy"]["reported"] and not told["taken_out_first"]["reported"]
    for copy in ("dup", "fork"):
        assert told[copy]["reports_in_1000_waits"] == 1000 and told[copy]["epoll_ctl_del"] == "EBADF"
        assert not told[copy]["reported_after_the_copy_is_closed"]


def test_both_ends_of_a_connect_are_told_as_writability() -> None:
    told = facts("nonblocking_connect")
    assert [told[how]["pollout"] for how in ("accepted", "refused", "not_answered")] == [True, True, False]
    assert [told[how]["so_error"] for how in ("accepted", "refused")] == ["none", "ECONNREFUSED"]


def test_a_datagram_is_read_once() -> None:
    told = facts("datagram_ready")
    assert told["read_in_part"] == {"bytes": 500, "truncated": True, "ready_again": False, "next": "EAGAIN"}
    assert told["two_waiters"] == {"datagrams": 1, "told": 2, "first": "none", "second": "EAGAIN"}


def test_a_wrong_checksum_is_reported_only_where_the_read_cannot_block() -> None:
    told = facts("bad_checksum")
    assert (told["right_blocking"]["poll"], told["wrong_blocking"]["poll"]) == (True, False)
    assert (told["wrong_nonblocking"]["poll"], told["wrong_nonblocking"]["error"]) == (True, "EAGAIN")


def test_each_kind_of_descriptor_is_told_by_all_three_waits() -> None:
    for kind, told in facts("pollable").items():
        assert "missing" in told or all(told.values()), kind


def test_reads_of_sockets_run_inside_io_submit_and_polls_do_not() -> None:
    told = facts("submit_blocks")
    assert told["socket_read"]["submit_us"] > 25_000 and told["socket_read"]["share"] > 0.9
    assert told["socket_poll"]["slept"] == 0 and told["socket_poll"]["complete_us"] > 25_000


def test_every_completion_is_told_and_every_poll_is_answered_once() -> None:
    joined, polls = facts("aio_eventfd"), facts("aio_sockets")
    assert joined["submitted"] == joined["told_by_eventfd"] == joined["completions"] == 64
    assert polls["echo"]["served"] == 100
    assert polls["one_submission"] == {
        "first_wait": 1, "still_readable": True, "second_wait": 0, "after_more_arrived": 0, "submitted_again": 1,
    }


def test_aio_error_makes_no_system_call_and_another_call_is_noticed() -> None:
    told = facts("posix_aio_notify")
    assert told["aio_error"]["any_call_is_noticed"] and told["aio_error"]["without_system_call"]
    assert all(told[way]["notified"] and told[way]["returned"] == 5 for way in ("signal", "thread", "aio_suspend"))


def test_files_are_asked_by_every_poll_and_by_epoll_only_with_news() -> None:
    told = facts("poll_callbacks")
    every = {"none_ready": 100, "first_ready": 100, "first_ready_twice": 200, "last_ready": 100}
    asked = {"slept_until_time_was_up": 200, "slept_until_one_was_ready": 200}
    assert told["select"] == told["poll"] == every | asked
    assert told["adding_to_epoll"] == 100
    assert (told["epoll"]["none_ready"], told["epoll"]["first_ready"], told["epoll"]["last_ready"]) == (0, 1, 1)


def test_a_herd_wakes_and_one_alone_with_the_flag() -> None:
    told = facts("listener_wakeups")
    assert told["of_32"]["own_sets"]["woken"] > 16 > 3 > told["of_32"]["own_sets_exclusive"]["woken"]
    assert told["of_3"]["accept"]["busiest"] < 0.5 < 0.9 < told["of_3"]["own_sets_exclusive"]["busiest"]


def test_a_listener_of_its_own_takes_its_queue_along_and_a_shared_one_does_not() -> None:
    told = facts("reuseport_close")
    assert told["copies"] == {"clients": 40, "served": 40, "reset": 0}
    assert told["reuseport"]["served"] + told["reuseport"]["reset"] == 40 and told["reuseport"]["reset"] > 0


def test_without_descriptors_a_level_triggered_listener_is_told_every_time() -> None:
    told = facts("accept_without_room")
    assert [told[how]["told_in_1000_waits"] for how in ("level", "edge")] == [1000, 1]
    assert all(told[how]["accept"] == "EMFILE" and told[how]["accepted_with_room"] for how in ("level", "edge"))


def test_io_uring_does_not_wait_for_a_silent_socket_in_its_submission() -> None:
    told = facts("uring_submit")
    assert told["socket_read"]["slept"] == 0 and told["socket_read"]["complete_us"] > 25_000
