// Made by ./scripts/schema from worker.parameter_rules. Do not edit.

export interface Parameters {
  creators: {
    /** A text of 1 to 200 characters. */
    search_term: string
    /** An integer from 1 to 3650. */
    active_within_days?: number
    /** A list of 1 to 20 texts of 1 to 100 characters. */
    keywords?: string[]
    /** A text of 2 to 10 characters. */
    language?: string
    /** An integer from 0 to 1000000000. */
    max_subscribers?: number
    /** An integer from 0 to 1000000000. */
    min_subscribers?: number
    /** An integer from 1 to 500; default: 50. */
    results_wanted?: number
    /** Default: ["youtube"]. */
    sites?: ('youtube')[]
  }
  jobs: {
    /** A text of 1 to 200 characters. */
    search_term: string
    /** A list of 1 to 50 texts of 1 to 100 characters. */
    ashby_boards?: string[]
    /** Default: false. */
    board_organizations?: boolean
    /** A text of 2 to 40 characters. */
    country?: string
    /** An integer from 0 to 500. */
    distance_miles?: number
    /** Default: false. */
    easy_apply?: boolean
    fallback_sites?: ('linkedin' | 'indeed' | 'glassdoor' | 'zip_recruiter' | 'bayt' | 'naukri' | 'bdjobs' | 'hellowork' | 'jsearch' | 'greenhouse' | 'ashby' | 'lever' | 'arbeitnow' | 'remotive')[]
    /** Default: false. */
    fetch_description?: boolean
    /** A list of 1 to 50 texts of 1 to 100 characters. */
    greenhouse_boards?: string[]
    /** An integer from 1 to 8760. */
    hours_old?: number
    /** Default: false. */
    is_remote?: boolean
    job_type?: 'fulltime' | 'parttime' | 'contract' | 'temporary' | 'internship' | 'perdiem' | 'other' | 'volunteer'
    /** A list of 1 to 50 texts of 1 to 100 characters. */
    lever_boards?: string[]
    /** A list of 1 to 50 positive integers. */
    linkedin_company_ids?: number[]
    /** A text of 1 to 200 characters. */
    location?: string
    /** An integer from 1 to 1000; default: 20. */
    results_wanted?: number
    /** Default: ["linkedin", "indeed"]. */
    sites?: ('linkedin' | 'indeed' | 'glassdoor' | 'zip_recruiter' | 'bayt' | 'naukri' | 'bdjobs' | 'hellowork' | 'jsearch' | 'greenhouse' | 'ashby' | 'lever' | 'arbeitnow' | 'remotive')[]
  }
  people: {
    /** A text of 1 to 200 characters. */
    search_term: string
    /** Default: "classic". */
    api?: 'classic' | 'sales_navigator' | 'recruiter'
    /** A text of 1 to 200 characters. */
    job_title?: string
    /** A list of 1 to 10 texts of 1 to 100 characters. */
    locations?: string[]
    network_distance?: (1 | 2 | 3)[]
    /** An integer from 50 to 2500; default: 100. */
    results_wanted?: number
    /** Default: ["unipile"]. */
    sites?: ('unipile')[]
  }
}
