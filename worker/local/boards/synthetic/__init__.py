"""The data that the played sites show. It is synthetic: everything is generated from a seed, nothing is real.

`places` and `vocabulary` hold the words. `vacancies` generates companies and vacancies from them, with a text from
`descriptions`; `listings` puts each vacancy on one board or on several. `jobs` defines what all of these are.
`people` and `channels` generate what the sites for people and for videos show.
"""
