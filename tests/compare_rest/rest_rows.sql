truncate public.books, public.notes, public.authors, public.covers, public.prizes, public.writings, public.texts,
    public.letters, public.ranged, public.badges, public.logs;
insert into public.books (id, title, pages, price, tags, data, kind, printed_at, owner) overriding system value values
    (1, 'Dune', 412, 9.50, '{sand,spice}', '{"by": {"name": "Herbert"}, "isbn": [5, 6]}', 'novel',
        '2026-01-02T03:04:05.678Z', null),
    (2, 'Emma', 320, null, null, null, null, null, null),
    (3, 'Ulysses', 730, 123456789012345678.90, '{}', '{"by": {"name": "Joyce"}}', 'novel', null, null);
insert into public.authors values (1, 1, 3, null), (2, 2, 2, 1);
insert into public.notes values (1, 1, 1, 'dry'), (2, 1, 2, 'long'), (3, 2, null, 'witty');
insert into public.covers values (1, 'yellow'), (2, 'red');
insert into public.prizes values (1, 1, 'Hugo'), (2, 3, 'none');
insert into public.letters values (1, '{"from": {"b":  2, "a": 1}, "to": {"a": 1}}');
insert into public.ranged values
    (1, '[1960,1970)', to_tsvector('english', 'The spice must flow'), to_tsvector('english', 'flowing spices'),
        'The cats sleep', '{"says": "Bless the Maker"}'),
    (2, '[1970,1980)', to_tsvector('english', 'Sand and more sand'), to_tsvector('english', 'sands'),
        'A cat and a mouse', '{"says": "and his water"}'),
    (3, '[1985,1990)', null, null, 'Les chats dorment', null);
insert into public.writings values (1, 1), (2, 2);
select setval('public.books_id_seq', 3);
